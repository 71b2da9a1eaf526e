"""A task that is under way, as the orchestrator remembers it between two looks at the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wlmctl.message import Outcome, TaskKey
from wlmctl.scheduler import RunningTask
from wlmctl.states import TaskState
from wlmctl.task import NOTHING, Resources


@dataclass(slots=True)
class Active:
    """A task in ``assigned``, ``running``, ``deferred`` or ``cancelling``."""

    idx: int
    state: TaskState
    attempt: int
    dispatch: int
    nonce: str
    type: str
    machine: str | None
    site: str | None
    touches: tuple[str, ...] = ()
    #: Where its work is placed, as ``Fleet`` names it.
    place: str | None = None
    resources: Resources | None = None
    devices: tuple[int, ...] = ()
    handle: Mapping[str, Any] | None = None
    started_s: float | None = None
    timeout_s: float | None = None
    #: True while a worker of this orchestrator's life has the dispatch; False: it must be sent (again).
    sent: bool = False
    #: True when a worker sees the end as an event, so that polls are only a second thought.
    watched: bool = False
    #: True once the time-out has passed: the end that is proven then is a ``time`` failure.
    timed_out: bool = False
    #: When the order to end the deferred work was sent last, on the monotonic clock; None: not sent.
    end_sent_s: float | None = None
    #: Who was asked last to end it.
    end_asked: str | None = None
    #: When the task was last told to be running, for adaptive polling: the moment it was deferred.
    deferred_s: float = 0.0
    #: The newest poll that has asked for it; 0: none has.
    polled: int = 0
    #: The running number under which it was sent, and the queue.
    number: int = 0
    queue: str = ""
    #: How many workers it has killed, as far as is known.
    kills: int = 0
    #: True where the store counts what it takes of its machine.
    is_counted: bool = False
    #: What it takes of the counters that all machines share.
    counters: tuple[tuple[str, int], ...] = ()
    #: So many like it may be one job of its machine's queue.
    pack: int = 1
    #: The worker that was last heard to have it; ``is_begun``: and to execute it.
    holder: str | None = None
    #: The worker that is expected to get it, while none has said so.
    likely: str | None = None
    is_begun: bool = False
    #: On the listening clock: when the broker confirmed it or a worker listed it last, whichever came later; None:
    #: not confirmed yet.
    seen_s: float | None = None
    #: On the listening clock: until when a worker keeps it without a message of the broker.
    leased_until_s: float | None = None
    #: True where the dispatch was sent to prove the end of what may run, not to begin it.
    is_end: bool = False
    #: True where an earlier dispatch of the attempt may have begun something, as far as is known.
    is_raised: bool = False
    #: How an execution failed while what an earlier dispatch has begun may run: it counts once nothing runs.
    failure: Outcome | None = None
    #: Why it is sent once more.
    again: str | None = None
    #: Who executed it, and since when, where its result has overtaken the word that it has begun.
    overtaken: tuple[str, float] | None = None
    _view: tuple[tuple[str | None, float | None], RunningTask] | None = None

    def key(self, exp: int) -> TaskKey:
        """What names this dispatch in messages."""
        return TaskKey(exp, self.idx, self.attempt, self.dispatch)

    def view(self, exp: int) -> RunningTask:
        """The task as a scheduler sees it; its end is expected at its time-out or walltime at the latest."""
        seen = (self.holder or self.likely, self.started_s)
        if self._view is None or self._view[0] != seen:
            resources = self.resources or NOTHING
            limits = [limit for limit in (self.timeout_s, resources.walltime_s) if limit is not None]
            end_s = self.started_s + min(limits) if self.started_s is not None and limits else None
            self._view = seen, RunningTask(f"{exp}.{self.idx}", self.place, seen[0], resources, end_s)
        return self._view[1]

    def beginning(self) -> dict[str, Any]:
        """Who has executed it since when, as far as it is not told yet."""
        if self.overtaken is None:
            return {}
        return {"worker": self.overtaken[0], "started": self.overtaken[1], "published": 1}

    @property
    def is_to_end(self) -> bool:
        """True where nothing of the attempt is to begin any more, and what may run of it is to be ended."""
        return self.state is TaskState.CANCELLING or self.timed_out or self.failure is not None

    @property
    def is_at_work(self) -> bool:
        """True while a worker has it, or is to have it: it is neither deferred nor waiting to be sent."""
        return self.sent and self.handle is None

    def follow(self, known: Active) -> None:
        """Take over what ``known``, the same dispatch in an older reading, knew beyond the store."""
        self.sent, self.watched, self.timed_out = known.sent, known.watched, known.timed_out
        self.end_sent_s, self.end_asked, self.deferred_s = known.end_sent_s, known.end_asked, known.deferred_s
        self.queue, self.holder, self.likely, self.is_begun = known.queue, known.holder, known.likely, known.is_begun
        self.seen_s, self.leased_until_s, self.again = known.seen_s, known.leased_until_s, known.again
        self.handle, self.is_end, self.polled = self.handle or known.handle, known.is_end, known.polled
        self.is_raised, self.failure = known.is_raised, known.failure
