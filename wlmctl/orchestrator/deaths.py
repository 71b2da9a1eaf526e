"""Which workers are dead: silent, and without a consumer on their control queue; or silent for long.

A worker that executes a task alone consumes nothing but its control queue meanwhile.
"""

from __future__ import annotations

from wlmctl.broker.contract import BrokerError, Depth
from wlmctl.orchestrator.errands import Errands
from wlmctl.orchestrator.registry import Member, Registry
from wlmctl.queues import RESULTS, control_queue, marks_queue, worker_queue

#: Heartbeats that may be missing, with some room for a busy host, before consumers are counted.
MISSING, ROOM_S = 2, 0.5

#: Seconds of silence after which a worker is dead even if the broker still has its connection.
SILENT_S = 10.0

#: Seconds between two counts of consumers of one worker's queue.
COUNT_AGAIN_S = 1.0


class Deaths:
    """Finds the dead. Times are on the listening clock, which stands while nobody can be heard."""

    def __init__(self, registry: Registry, errands: Errands, prefix: str) -> None:
        self._registry, self._errands, self._prefix = registry, errands, prefix
        self._counted_s: dict[str, float] = {}
        self._found: dict[str, str] = {}
        #: Until then workers that were not heard since the connection came back are on their way back themselves.
        self._trusted_s = 0.0

    def reconnected(self, now_s: float) -> None:
        """Everybody has lost the broker, and comes back in its own time."""
        self._trusted_s = now_s + SILENT_S
        self._found.clear()

    def look(self, now_s: float) -> None:
        """Look into those that have been silent for too long."""
        for member in self._registry.members.values():
            silent_s = now_s - member.seen_s
            if silent_s <= MISSING * member.info.heartbeat_s + ROOM_S:
                continue
            if silent_s <= SILENT_S and not member.heard and now_s < self._trusted_s:
                continue
            self.look_into(member, now_s, is_long=silent_s > SILENT_S)

    def look_into(self, member: Member, now_s: float, *, is_long: bool = False) -> None:
        """Count who consumes a worker's control queue; with ``is_long`` its silence alone may be its death."""
        if member.is_probed and now_s < self._counted_s.get(member.id, 0.0) + COUNT_AGAIN_S:
            return
        member.is_probed = True
        self._counted_s[member.id] = now_s
        heard = member.heard
        queue = control_queue(self._prefix, member.id)

        def answer(depths: list[Depth | None] | BrokerError) -> None:
            if isinstance(depths, BrokerError) or self._registry.members.get(member.id) is not member:
                return
            if depths[0] is None or not depths[0].consumers:
                self._found[member.id] = "its connection to the broker is gone"
            elif is_long and member.heard == heard and depths[1] is not None and depths[1].consumers == 1:
                self._found[member.id] = f"silent for {SILENT_S:g} s"

        self._errands.look([queue, RESULTS.format(prefix=self._prefix)], answer)

    def is_open(self) -> bool:
        """True when somebody was found dead."""
        return bool(self._found)

    def take(self) -> list[tuple[Member, str]]:
        """Those that are dead, with why."""
        found, self._found = self._found, {}
        members = self._registry.members
        for worker in self._counted_s.keys() - members.keys():
            del self._counted_s[worker]
        return [(members[worker], why) for worker, why in found.items() if worker in members]

    def bury(self, worker: str) -> None:
        """The worker's queues go; what is in them has been handed out again."""
        names = (worker_queue, control_queue, marks_queue)
        self._errands.delete([name(self._prefix, worker) for name in names])
