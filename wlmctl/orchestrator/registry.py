"""The workers as their heartbeats say: who is there, what each can do, what it has; and their rows in the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from wlmctl.host import ProcessIdentity
from wlmctl.machine import LOCAL
from wlmctl.message import SCHEMA, HeartbeatMessage, TaskKey, WorkerInfo
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.store import Database, workers
from wlmctl.store.workers import ALIVE, DRAINING

#: Seconds between two writes of when the workers were seen.
SEEN_S = 5.0

#: Seconds in which what a dead worker still says is not taken for a new life: its queues go, and it takes a new id.
BURIED_S = 10.0


@dataclass(slots=True, eq=False)
class Member:
    """A live worker. ``seen_s`` is on the leader's listening clock."""

    id: str
    info: WorkerInfo
    #: The places that it reaches: names of machines, and its own ``local``.
    places: frozenset[str]
    state: str = ALIVE
    seen_s: float = 0.0
    #: Heartbeats since the leader listens on this connection; 0: it is known from before.
    heard: int = 0
    #: As many of them the store knew of when it was last told.
    heard_before: int = 0
    mark: int = 0
    listed: frozenset[TaskKey] = frozenset()
    begun: frozenset[TaskKey] = frozenset()
    #: Consumers of its queue are being counted.
    is_probed: bool = False
    told_to_drain: bool = False

    @property
    def is_taking(self) -> bool:
        """True while it takes new dispatches."""
        return self.state == ALIVE

    @property
    def process(self) -> ProcessIdentity:
        """Which process it is."""
        return ProcessIdentity(self.info.host, self.info.boot, self.info.pid, self.info.start_time)


@dataclass(slots=True)
class _Unwritten:
    """What the store does not know yet."""

    put: set[str] = field(default_factory=set)
    ended: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.put or self.ended)


class Registry:
    """All live workers. With ``only`` there is one, always alive, which can do everything (``memory://``)."""

    def __init__(self, fleet: Fleet, *, only: Member | None = None) -> None:
        self._fleet = fleet
        self.only = only
        self.members: dict[str, Member] = {only.id: only} if only is not None else {}
        self._unwritten = _Unwritten()
        self._buried: dict[str, float] = {}
        self._seen_written_s = 0.0
        #: Rises with each change of who is there or what somebody can do.
        self.version = 0

    @property
    def is_fleet(self) -> bool:
        """True where workers come and go."""
        return self.only is None

    def taking(self) -> list[Member]:
        """The workers that take new dispatches."""
        return [member for member in self.members.values() if member.is_taking]

    def recall(self, db: Database) -> None:
        """The live workers by the store, as the leader before has left them; none of them has been heard yet."""
        for row in workers.live(db):
            info = _info(row.details)
            if info is not None and row.id not in self.members and row.id not in self._unwritten.ended:
                self.members[row.id] = Member(row.id, info, self._places(info), row.state)
                self.version += 1

    def _places(self, info: WorkerInfo) -> frozenset[str]:
        names = {
            name
            for name in self._fleet.inventory_names()
            if name != LOCAL and any(fnmatchcase(name, glob) for glob in info.machines)
        }
        if any(fnmatchcase(LOCAL, glob) for glob in info.machines):
            names.add(self._fleet.local(info.host, info.user, info.host_name))
        return frozenset(names)

    def heard(self, beat: HeartbeatMessage, now_s: float) -> Member | None:
        """Note a heartbeat; None for a worker that is dead, or that reads no messages of ours."""
        if self._buried and self._is_buried(beat.worker, now_s):
            return None
        member = self.members.get(beat.worker)
        if member is None or member.info != beat.info:
            if SCHEMA not in beat.info.schemas:
                return None
            if member is None:
                member = self.members[beat.worker] = Member(beat.worker, beat.info, frozenset())
            member.info, member.places = beat.info, self._places(beat.info)
            self._changed(member)
        state = DRAINING if beat.is_draining else ALIVE
        if member.state != state:
            member.state = state
            self._changed(member)
        member.seen_s, member.mark = now_s, beat.mark
        member.heard += 1
        member.is_probed = False
        member.begun = frozenset((*beat.started, *beat.leased))
        member.listed = member.begun.union(beat.held)
        return member

    def _is_buried(self, worker: str, now_s: float) -> bool:
        died_s = self._buried.get(worker)
        if died_s is not None and now_s > died_s + BURIED_S:
            del self._buried[worker]
            return False
        return died_s is not None

    def _changed(self, member: Member) -> None:
        self.version += 1
        self._unwritten.put.add(member.id)

    def leave(self, member: Member, state: str, reason: str, now_s: float) -> None:
        """The worker is dead, or gone."""
        del self.members[member.id]
        self._buried[member.id] = now_s
        self.version += 1
        self._unwritten.put.discard(member.id)
        self._unwritten.ended[member.id] = (state, reason)

    def reconnected(self, now_s: float) -> None:
        """The leader has a new connection: everybody has a full term, and is to be heard again first."""
        for member in self.members.values():
            member.seen_s, member.heard, member.heard_before = now_s, 0, 0
            member.mark, member.is_probed = 0, False
            member.listed = member.begun = frozenset()

    def is_changed(self) -> bool:
        """True when the store does not know everything yet."""
        return bool(self._unwritten)

    def write(self, db: Database, now_s: float, now: float, under_way: Callable[[], dict[str, int]]) -> None:
        """Bring the rows up to date; inside a transaction. ``committed`` after it."""
        if not self.is_fleet:
            return
        for worker in self._unwritten.put:
            member = self.members[worker]
            workers.put(db, worker, asdict(member.info), member.state, now_s)
        for worker, (state, reason) in self._unwritten.ended.items():
            workers.end(db, worker, state, now_s, reason)
        if now >= self._seen_written_s + SEEN_S and self.members:
            self._seen_written_s = now
            counts = under_way()
            heard = [member for member in self.members.values() if member.heard != member.heard_before]
            workers.seen(db, [(member.id, counts.get(member.id, 0)) for member in heard], now_s)
            for member in heard:
                member.heard_before = member.heard

    def committed(self) -> None:
        """What was written is in the store."""
        if self._unwritten:
            self._unwritten = _Unwritten()

    def all_unwritten(self) -> None:
        """The store may have lost what was written last: write it again."""
        self._unwritten.put.update(self.members)


def _info(details: dict[str, Any]) -> WorkerInfo | None:
    """What a row says of a worker; None for a row of another version that this one cannot read."""
    try:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in details.items()}
        return WorkerInfo(**values)
    except TypeError:
        return None
