"""Which dispatches are lost: confirmed by the broker, in no queue, and in no worker's hands.

A queue without ready messages, and results that nobody else reads, are seen first; on a queue that is never empty, the
delivery of a later message stands for the former. Then a mark goes to each live worker, which takes it behind its
deliveries and repeats it in its heartbeats. Two heartbeats of each with the mark and without the dispatch, and the same
two observations again: nobody has it. A wrong guess costs work, never correctness.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from wlmctl.broker.contract import BrokerError, Depth
from wlmctl.message import MarkMessage, TaskKey
from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.errands import Errands
from wlmctl.orchestrator.registry import Member, Registry
from wlmctl.orchestrator.results import current
from wlmctl.orchestrator.sending import Letter
from wlmctl.orchestrator.work import Work
from wlmctl.queues import RESULTS, marks_queue, type_queue, worker_queue

#: Seconds without being listed after which a dispatch is asked for, and between two looks whether there are any.
OLD_S, LOOK_S = 2.0, 0.5

#: Heartbeats of each worker that do not list it.
HEARTBEATS = 2

#: Seconds after which a round that has not come to an end begins anew.
ROUND_S = 15.0


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A dispatch that is missing: the queues it may be in, its priority, its running number."""

    queues: tuple[str, ...]
    priority: int
    number: int


@dataclass(slots=True)
class _Round:
    """One round, for all dispatches that were missing at its beginning."""

    number: int
    begun_s: float
    suspects: dict[TaskKey, _Suspect]
    heard: dict[str, int] = field(default_factory=dict)
    is_marked: bool = False
    is_looking: bool = True
    is_proven: bool = False


class LostRule:
    """One round at a time. Times are on the listening clock."""

    def __init__(self, registry: Registry, errands: Errands, prefix: str, epoch: int) -> None:
        self._registry, self._errands, self._prefix = registry, errands, prefix
        self._number = epoch << 32  # a mark of an earlier leader is below those of this one
        self._round: _Round | None = None
        self._look_s = 0.0
        #: By queue and priority: the highest running number that a worker has listed.
        self._delivered: dict[tuple[str, int], int] = {}

    def interrupted(self) -> None:
        """The connection was lost, or a worker: what the round has seen is worth nothing, and messages go back."""
        self._round = None
        self._delivered.clear()

    def delivered(self, active: Active, priority: int) -> None:
        """A worker has the dispatch: what was sent to its queue before it, and counts as much, waits there no more."""
        key = active.queue, priority
        if active.number > self._delivered.get(key, 0):
            self._delivered[key] = active.number

    def heard(self, member: Member) -> None:
        """A worker's heartbeat, after it was noted."""
        found = self._round
        if found is None or not found.is_marked or member.id not in found.heard or member.mark < found.number:
            return
        for key in found.suspects.keys() & member.listed:
            del found.suspects[key]
        found.heard[member.id] += 1
        if not found.is_looking and min(found.heard.values()) >= HEARTBEATS:
            self._observe(found)

    def look(
        self, works: Mapping[int, Work], now_s: float, waited_for: Collection[TaskKey], send: Callable[[Letter], None]
    ) -> list[tuple[Work, Active]]:
        """Go on with the round, or begin one; the dispatches that are proven lost."""
        found = self._round
        if found is None:
            if now_s >= self._look_s + LOOK_S:
                self._look_s = now_s
                self._begin(works, now_s, waited_for)
        elif found.is_proven:
            self._round = None
            return [pair for key in found.suspects if (pair := _still_missing(works, key, now_s)) is not None]
        elif now_s > found.begun_s + ROUND_S or found.heard.keys() - self._registry.members.keys():
            self._round = None
        elif not found.is_looking and not found.is_marked:
            found.is_marked = True
            found.heard = dict.fromkeys(self._registry.members, 0)
            for worker in found.heard:
                send(Letter(marks_queue(self._prefix, worker), MarkMessage(found.number), transient=True))
            if not found.heard:
                self._round = None  # nobody is there to get it again
        return []

    def _begin(self, works: Mapping[int, Work], now_s: float, waited_for: Collection[TaskKey]) -> None:
        suspects = {
            active.key(work.seq): _Suspect(self._queues(active), work.row.priority, active.number)
            for work in works.values()
            for active in work.active.values()
            if _is_missing(active, now_s)
        }
        for key in waited_for:
            suspects.pop(key, None)
        if suspects and self._registry.members:
            self._number += 1
            self._round = _Round(self._number, now_s, suspects)
            self._observe(self._round)

    def _queues(self, active: Active) -> tuple[str, ...]:
        """Where the dispatch may wait: an earlier leader has not said where it sent it."""
        if active.queue:
            return (active.queue,)
        own = (worker_queue(self._prefix, worker) for worker in self._registry.members)
        return (type_queue(self._prefix, active.type), *own)

    def _observe(self, found: _Round) -> None:
        """Which of the suspects' queues are empty, and is this process alone with the results?"""
        found.is_looking = True
        queues = sorted({queue for suspect in found.suspects.values() for queue in suspect.queues})

        def answer(depths: list[Depth | None] | BrokerError) -> None:
            if found is not self._round:
                return
            if isinstance(depths, BrokerError) or depths[-1] is None or depths[-1].consumers != 1:
                self._round = None
                return
            empty = {queue for queue, depth in zip(queues, depths, strict=False) if depth is None or not depth.ready}
            found.suspects = {
                key: suspect
                for key, suspect in found.suspects.items()
                if all(queue in empty or self._is_past(queue, suspect) for queue in suspect.queues)
            }
            found.is_looking, found.is_proven = False, found.is_marked
            if not found.suspects:
                self._round = None

        self._errands.look([*queues, RESULTS.format(prefix=self._prefix)], answer)

    def _is_past(self, queue: str, suspect: _Suspect) -> bool:
        """True when a message that stood behind the suspect in this queue has been delivered."""
        return any(
            known == queue and priority <= suspect.priority and number > suspect.number
            for (known, priority), number in self._delivered.items()
        )


def _is_missing(active: Active, now_s: float) -> bool:
    """True for a confirmed dispatch that no worker has listed for a while."""
    return (
        active.is_at_work
        and active.seen_s is not None
        and now_s > active.seen_s + OLD_S
        and active.leased_until_s is None
    )


def _still_missing(works: Mapping[int, Work], key: TaskKey, now_s: float) -> tuple[Work, Active] | None:
    found = current(works, key, None)
    if found is None or found[1].dispatch != key.dispatch or not _is_missing(found[1], now_s):
        return None
    return found
