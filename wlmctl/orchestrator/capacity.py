"""What the workers can take now, as a scheduler sees it and as its assignments are checked against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wlmctl.orchestrator.packs import pack_of
from wlmctl.orchestrator.ready import ReadyGroup
from wlmctl.orchestrator.registry import Member
from wlmctl.orchestrator.routing import Company, Routing
from wlmctl.orchestrator.window import SPAN_S, Loads, Window
from wlmctl.orchestrator.work import Work
from wlmctl.plugins import moves_data
from wlmctl.scheduler import WorkerView

#: The most tasks of one delivery, the seconds in which one worker finishes them, and how many deliveries each worker
#: gets at least of what is sent at once. A delivery is acked with its last task: until then it takes up credit, and
#: what is urgent may have to wait for that where tasks take longer than those before them did.
TOGETHER, TOGETHER_S, SHARES = 10, 0.01, 2


@dataclass(slots=True)
class _Shown:
    """A group of ready tasks: who can do them, how many may be sent beyond the free slots, whether they move data.

    ``company``: they are started together, ``asked`` is who asks their machine, ``pack`` how many are one job there.
    ``finished``: how many like them ended lately.
    """

    able: list[Member]
    priority: int
    ahead: int
    task_type: str
    moves: bool
    company: Company | None
    asked: str | None
    pack: int
    finished: int


class Capacity:
    """The capacity of the workers at one moment."""

    def __init__(self, routing: Routing, loads: Loads, window: Window, now: float) -> None:
        self._routing, self.loads, self._window, self._now = routing, loads, window, now
        self._shown: dict[str, _Shown] = {}
        self._allowances: dict[str, int] = {}
        #: By group and places: who can do its tasks there.
        self._able_on: dict[tuple[str, tuple[str, ...]], list[Member]] = {}
        #: Types of tasks that a scheduler asks about before any is ready.
        self._expected: set[str] = set()
        self._only = routing.registry.only
        #: By place: the most tasks of what is shown that are one job of its queue, where they are packed.
        self.packs: dict[str, int] = {}
        #: True where some of what is shown is started together: then workers seem to have more slots than others get.
        self._is_gathering = False

    @property
    def slots(self) -> int:
        """How many slots all workers have."""
        return sum(member.info.slots for member in self._routing.registry.taking())

    def show(self, work: Work, group: ReadyGroup, places: Sequence[str]) -> None:
        """Take a group into account that is shown to the scheduler."""
        able = self._routing.able(group.type, group.worker_labels, places)
        ahead = self._window.ahead(work.seq, group.type, self._now) if self._only is None else 0
        finished = self._window.of_template(work.seq, group.type, group.template) if ahead else 0
        company = self._routing.company(group.type, places)
        asked, pack = None, 1
        if company is not None:
            self._is_gathering, asked, pack = True, self._routing.asked(company[1]), pack_of(work, group)
            if pack > self.packs.get(company[1], 1):
                self.packs[company[1]] = pack
        self._shown[group.key] = _Shown(
            able, work.row.priority, ahead, group.type, moves_data(group.type), company, asked, pack, finished
        )

    def expect(self, types: Iterable[str]) -> None:
        """Tasks of these types will come; a worker that does everything is shown to do them."""
        self._expected.update(types)

    def most(self, groups: Iterable[str]) -> int | None:
        """How many tasks of the groups of one experiment may be sent now; None: as many as there are slots."""
        if self._only is not None:
            return None
        return max((self.allowance(key) for key in groups), default=None)

    def allowance(self, key: str) -> int:
        """How many more tasks of the group may be sent now."""
        known = self._allowances.get(key)
        if known is None:
            known = self._allowances[key] = self.allowed(key, self.loads)
        return known

    @property
    def is_by_group(self) -> bool:
        """True where a group may send fewer than workers seem to have free slots, or more."""
        return self._only is None or self._is_gathering

    def is_early(self, key: str) -> bool:
        """True where what the group may send is under way, although workers that can do it have free slots."""
        return self.is_by_group and self.allowance(key) < 1

    def allowed(self, key: str, loads: Loads) -> int:
        """The same, with other loads."""
        shown = self._shown[key]
        if shown.company is not None:
            beside = 1 if self._only is not None else 0
            return loads.room(shown.company, shown.able, shown.priority, pack=shown.pack, beside=beside)
        if self._only is not None:
            return self._beside(self._only, loads) if shown.able else 0
        return loads.allowance(shown.able, shown.priority, shown.ahead, moves=shown.moves)

    def room_to_move(self, key: str, loads: Loads | None = None) -> int | None:
        """How many more of the group may be sent beside other transfers; None where it is none, or nobody can do it."""
        shown = self._shown[key]
        if not shown.moves or not shown.able:
            return None
        beside = 1 if self._only is not None else 0  # a step that waits beside each that executes
        left = [(loads or self.loads).room_to_move(member, beside) for member in shown.able]
        waiting = -sum(room for room in left if room < 0)
        return sum(room for room in left if room > 0) + max(0, shown.ahead - waiting)

    def shown(self, key: str) -> int | None:
        """How many of the group a scheduler may see, so that it gives no slots to what cannot go; None: all."""
        room = self.room_to_move(key)
        if not self._is_gathering or not self._shown[key].able:
            return room
        return max(0, self.allowance(key) if room is None else min(room, self.allowance(key)))

    def together(self, key: str, count: int) -> int:
        """How many of the group's tasks may be one delivery where ``count`` tasks are sent: what one worker finishes in
        a moment, and no more than keeps all of them busy."""
        shown = self._shown[key]
        workers = max(1, len(shown.able))
        finished = int(shown.finished * TOGETHER_S / SPAN_S)
        return max(1, min(TOGETHER, finished // workers, count // (SHARES * workers)))

    def company(self, key: str) -> Company | None:
        """What the group's tasks are started together with."""
        return self._shown[key].company

    def pack(self, key: str) -> int:
        """How many of the group's tasks are one job of their machine's queue."""
        return self._shown[key].pack

    def leading(self, key: str, loads: Loads) -> Member:
        """Who gets the next task of a group that is started together."""
        shown = self._shown[key]
        assert shown.company is not None
        return loads.leading(shown.company, shown.able, shown.priority, shown.asked)

    def moves(self, key: str) -> bool:
        """True where the group's tasks move data."""
        return self._shown[key].moves

    def able(self, key: str, places: tuple[str, ...] = ()) -> list[Member]:
        """Who can do the group's tasks; on these ``places``, where a role of them has just been bound."""
        able = self._shown[key].able
        if self._only is not None or not places:
            return able
        known = self._able_on.get((key, places))
        if known is None:
            known = self._able_on[key, places] = [member for member in able if member.places.issuperset(places)]
        return known

    def views(self) -> list[WorkerView]:
        """The workers as a scheduler sees them."""
        members = self._routing.registry.taking()
        free = self._free(members)
        types = frozenset(shown.task_type for shown in self._shown.values()) | self._expected
        return [
            WorkerView(
                member.id,
                types if self._only is not None else frozenset(member.info.types),
                frozenset(self._routing.fleet.names()) if self._only is not None else member.places,
                free[member.id],
                frozenset(member.info.labels),
            )
            for member in members
        ]

    def _free(self, members: Sequence[Member]) -> dict[str, int]:
        free = dict.fromkeys((member.id for member in members), 0)
        if self._only is not None:
            free[self._only.id] = max(0, self._beside(self._only, self.loads))
        together = dict[tuple[str, Company], int]()
        for key, shown in self._shown.items():
            if shown.company is not None and shown.able:
                where = self.leading(key, self.loads).id, shown.company
                together[where] = max(together.get(where, 0), self.allowance(key))
            if shown.company is not None or self._only is not None:
                continue
            share = -(-shown.ahead // max(1, len(shown.able)))
            for member in shown.able:
                left = max(0, self.loads.free(member, shown.priority, moves=shown.moves) + share)
                free[member.id] = max(free[member.id], left)
        for (worker, _), count in together.items():  # it is one slot, and as many as they are to a scheduler
            free[worker] += count
        return free

    @staticmethod
    def _beside(only: Member, loads: Loads) -> int:
        """How many more may be sent: a step that waits beside each that executes, so that no slot is ever idle."""
        return 2 * only.info.slots - loads.total()[only.id]

    def room(self) -> WorkerRoom:
        """What is left while a decision is checked."""
        return WorkerRoom(self, {view.id: view.free_slots for view in self.views()})


class WorkerRoom:
    """What is left of the workers while assignments are checked."""

    def __init__(self, capacity: Capacity, free: dict[str, int]) -> None:
        self._capacity, self._free, self._loads = capacity, free, capacity.loads.copy()
        #: The group that was asked about last, and how many of it may still be sent.
        self._left: tuple[str, int] = ("", 0)

    @property
    def capacity(self) -> Capacity:
        """What it is the room of."""
        return self._capacity

    def refusal(self, group: ReadyGroup, worker: str | None, places: tuple[str, ...]) -> str | None:
        """Why one more task of the group, on these places, cannot go to the workers; empty: it is only too early."""
        able = self._capacity.able(group.key, places)
        if self._capacity.company(group.key) is not None:
            worker = None  # they stay together, whoever is wanted
        if worker is not None and worker not in self._free:
            return f"no live worker {worker}"
        if worker is not None and all(member.id != worker for member in able):
            return f"worker {worker} cannot do it"
        if not able:
            return "no live worker can do it"
        free = self._free
        if not any(free[member.id] > 0 for member in able if worker is None or worker == member.id):
            return "no worker has a free slot"
        if self._capacity.room_to_move(group.key, self._loads) == 0:
            return ""
        if self._capacity.is_by_group:
            if self._left[0] != group.key:
                self._left = group.key, self._capacity.allowed(group.key, self._loads)
            if self._left[1] < 1:
                return ""
        return None

    def take(self, group: ReadyGroup, worker: str | None, places: tuple[str, ...], priority: int) -> str:
        """One task of the group starts, on these places; the worker that will get it."""
        able, company = self._capacity.able(group.key, places), self._capacity.company(group.key)
        if company is not None:
            worker = self._capacity.leading(group.key, self._loads).id
        elif worker is None:
            worker = self._loads.likely(able, priority).id
        self._loads.add(worker, priority, moves=self._capacity.moves(group.key), company=company)
        key, left = self._left
        self._left = ("", 0) if key != group.key else (key, left - 1)
        if self._free[worker] > 0:
            self._free[worker] -= 1
        else:
            other = next((member.id for member in able if self._free[member.id] > 0), worker)
            self._free[other] -= 1
        return worker
