"""A task that is under way, as the orchestrator remembers it between two looks at the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wlmctl.message import TaskKey
from wlmctl.states import TaskState
from wlmctl.task import Resources


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
    #: When the task was last told to be running, for adaptive polling: the moment it was deferred.
    deferred_s: float = 0.0

    def key(self, exp: int) -> TaskKey:
        """What names this dispatch in messages."""
        return TaskKey(exp, self.idx, self.attempt, self.dispatch)
