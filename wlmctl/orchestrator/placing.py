"""What a scheduler is asked: the snapshot of all that is ready, and the way to its checked answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from wlmctl.machine import LOCAL
from wlmctl.orchestrator.capacity import Capacity
from wlmctl.orchestrator.checking import Checked, DecisionCheck, is_waiting
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.open_roles import OpenRoles, data_bytes
from wlmctl.orchestrator.ready import ReadyGroup
from wlmctl.orchestrator.work import Work
from wlmctl.role_classes import decide
from wlmctl.scheduler import (
    Group,
    MachineView,
    Reason,
    Reservation,
    RunningTask,
    Scheduler,
    Snapshot,
    Usage,
)
from wlmctl.states import ExperimentState

#: Of groups that differ in the values of their open roles alone, so many are shown, and as many as there are slots:
#: where tasks wait for several roles at once, there is one for each value.
VIEW = 200


class TaskIds(Sequence[str]):
    """The ids of ready tasks, made when they are asked for."""

    __slots__ = ("_positions", "_seq")

    def __init__(self, seq: int, positions: Sequence[int]) -> None:
        self._seq, self._positions = seq, positions

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[str]:
        for position in self._positions:
            yield f"{self._seq}.{position}"

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return [f"{self._seq}.{position}" for position in self._positions[index]]
        return f"{self._seq}.{self._positions[index]}"


class RunningTasks(Sequence[RunningTask]):
    """The tasks under way at one moment, made when they are asked for: there are many, and few schedulers ask."""

    __slots__ = ("_actives", "_views")

    def __init__(self, works: Iterable[Work]) -> None:
        self._actives = [(work.seq, list(work.active.values())) for work in works]
        self._views: list[RunningTask] | None = None

    def __len__(self) -> int:
        return sum(len(actives) for _, actives in self._actives)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if self._views is None:
            self._views = [active.view(seq) for seq, actives in self._actives for active in actives]
        return self._views[index]


class Placement:
    """One look at what is ready: builds the snapshot, asks the scheduler, has its answer checked."""

    def __init__(
        self,
        works: Sequence[Work],
        fleet: Fleet,
        views: Mapping[str, MachineView],
        capacity: Capacity,
        counters: Mapping[str, int],
    ) -> None:
        self._works, self._fleet, self._capacity = works, fleet, capacity
        self._views, self._counters = views, counters
        self._groups: dict[str, tuple[Work, ReadyGroup]] = {}
        self._roles = OpenRoles(name for name in views if fleet.machine(name).name == LOCAL)
        self.unknown: set[str] = set()
        #: Why groups cannot be shown to a scheduler yet.
        self.open: dict[str, Reason] = {}

    def snapshot(
        self,
        now_s: float,
        usage: tuple[Mapping[str, Usage], Mapping[str, Usage]] = ({}, {}),
        reservations: Sequence[Reservation] = (),
    ) -> Snapshot:
        """What the scheduler may know now: ``usage`` by user and project; ``reservations`` of tasks that still wait."""
        by_user, by_project = usage
        groups, found = list[Group](), list[tuple[Work, list[tuple[ReadyGroup, list[str | None]]]]]()
        for work in self._works:
            if work.state is not ExperimentState.RUNNING:
                continue
            ready = _in_view([group for group in work.ready.values() if group.tasks], max(VIEW, self._capacity.slots))
            found += [(work, [(group, places) for group in ready if (places := self._places(work, group)) is not None])]
        self._capacity.expect(need.type for need in self._roles.needs())
        if self._roles.ask_for_amounts():
            self.unknown.update(name for name in self._views if not self._fleet.is_known(name))
        for work, placed in found:
            shown = [self._group(work, group, places, now_s) for group, places in placed]
            groups += self._limited(work, [group for group in shown if group is not None])
        return Snapshot(
            now_s,
            0,
            groups,
            self._capacity.views(),
            self._with_packs(),
            running=RunningTasks(self._works),
            usage_by_user=by_user,
            usage_by_project=by_project,
            roles=self._roles.alone(),
            role_classes=self._roles.classes(self._works),
            bindings=tuple(chain.from_iterable(work.shown_bindings() for work in self._works)),
            reservations=self._kept(reservations),
            counters=self._counters,
        )

    def _with_packs(self) -> dict[str, MachineView]:
        """The machines, with jobs left for so many tasks as packs have: a scheduler counts tasks."""
        views = dict(self._views)
        for name, pack in self._capacity.packs.items():
            if (left := views[name].jobs_left) is not None:
                views[name] = replace(views[name], jobs_left=left * pack)
        return views

    def _kept(self, reservations: Sequence[Reservation]) -> tuple[Reservation, ...]:
        works = [work for work in self._works if work.state is ExperimentState.RUNNING]
        return tuple(each for each in reservations if each.machine in self._views and is_waiting(each.task, works))

    def _limited(self, work: Work, groups: list[Group]) -> list[Group]:
        """The groups with how many more of the experiment's tasks may be under way."""
        limit = work.experiment.max_running
        left = None if limit is None else max(0, limit - work.under_way)
        allowed = self._capacity.most(group.id for group in groups)
        may_start = min((most for most in (left, allowed) if most is not None), default=None)
        return groups if may_start is None else [replace(group, may_start=may_start) for group in groups]

    def _places(self, work: Work, ready: ReadyGroup) -> list[str | None] | None:
        """On which places the group would work, None for each that is open; in all None while its ``local`` is."""
        self._groups[ready.key] = (work, ready)
        idx = ready.tasks[0]
        roles = ready.roles or (LOCAL,)
        machines = [work.machine_of(idx, role) for role in roles]
        if LOCAL in machines and work.local is None:
            self.open[ready.key] = Reason("worker", f"no live worker is, or is on, {work.row.local_on} (--local-on)")
            return None
        places = [work.place_of(name) if name is not None else None for name in machines]
        for role, place in zip(roles, places, strict=True):
            if place is None:
                self._roles.note(work, ready, role, work.role_key(idx, role))
            elif ready.needs_capacity and not self._fleet.is_known(place):
                self.unknown.add(place)
        self._capacity.show(work, ready, [place for place in places if place is not None])
        return places

    def _group(self, work: Work, ready: ReadyGroup, places: list[str | None], now_s: float) -> Group | None:
        """The group as a scheduler sees it; None where nothing of it could go."""
        room = self._capacity.shown(ready.key)
        if room == 0:
            moves = self._capacity.moves(ready.key)
            why = "every worker that can do it " + ("keeps its last slot free of transfers" if moves else "is busy")
            self.open[ready.key] = Reason("slots", why)
            return None
        roles, unbound = zip(ready.roles or (LOCAL,), places, strict=True), ready.own
        if unbound is None:
            unbound = next((work.role_key(ready.tasks[0], role) for role, place in roles if place is None), None)
        view = self._views.get(places[0] or "")
        if view is not None and view.jobs_left and view.name in self._capacity.packs:
            jobs = max(0, view.jobs_left * self._capacity.pack(ready.key))
            room = jobs if room is None else min(room, jobs)
        tasks, own_roles = ready.shown(room)
        if ready.own is not None:
            self._roles.show(work, ready, own_roles)
        return Group(
            ready.key,
            work.row.id,
            ready.type,
            TaskIds(work.seq, tasks),
            places[0],
            tuple(place for place in places if place is not None),
            unbound,
            ready.resources,
            ready.worker_labels,
            work.row.priority,
            work.seq,
            max(0.0, now_s - (ready.since_s or now_s)),
            user=work.row.user,
            project=work.row.project,
            deadline_s=work.experiment.deadline_s(work.row.start_due or work.row.created),
            counters=ready.counters,
            own_roles=own_roles,
        )

    def ask(self, scheduler: Scheduler, snapshot: Snapshot) -> Checked:
        """What is legal in the scheduler's decision; raises what the scheduler raises."""
        check = DecisionCheck(
            self._groups, self._roles, self._views, self._fleet, self._capacity.room(), self._counters
        )
        checked = check.check(decide(scheduler, snapshot))
        checked.reasons = {**checked.reasons, **self.open}
        return checked

    def group(self, key: str) -> tuple[Work, ReadyGroup]:
        """The group of ready tasks that a scheduler knows as ``key``."""
        return self._groups[key]

    def data_bytes(self, work: Work, key: str, machine: str) -> int:
        """How much of what the tasks of a role read was on the machine that it is bound to now."""
        place = work.place_of(machine)
        return data_bytes(work, key.partition("[")[0], key).get(place, 0) if place is not None else 0

    def is_unbound(self, key: str) -> bool:
        """True while a role of the group has no machine."""
        work, group = self._groups[key]
        return any(work.machine_of(group.tasks[0], role) is None for role in group.roles)


def _in_view(groups: Iterable[ReadyGroup], most: int) -> list[ReadyGroup]:
    """The groups, but of those that are alike no more than so many, the first of them: the others' turn comes later."""
    found, counts = list[ReadyGroup](), dict[str, int]()
    for group in groups:
        if group.standing.waits:
            count = counts[group.alike] = counts.get(group.alike, 0) + 1
            if count > most:
                continue
        found.append(group)
    return found
