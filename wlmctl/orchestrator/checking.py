"""The check of a scheduler's decision: what is legal is kept, what is not is named, nothing is half done."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from wlmctl.machine import LOCAL
from wlmctl.orchestrator.capacity import Capacity, WorkerRoom
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.open_roles import OpenRoles
from wlmctl.orchestrator.owners import Owners
from wlmctl.orchestrator.ready import ReadyGroup
from wlmctl.orchestrator.routing import places
from wlmctl.orchestrator.work import Work
from wlmctl.scheduler import Assignment, Binding, Decision, MachineView, Reason, Reservation
from wlmctl.states import TaskState


def is_waiting(task: str, works: Iterable[Work]) -> bool:
    """True where a scheduler's name of a task is that of one that is ready."""
    seq, _, idx = task.partition(".")
    if not (seq.isascii() and seq.isdigit() and idx.isascii() and idx.isdigit() and len(task) < 30):
        return False
    work = next((work for work in works if work.seq == int(seq)), None)
    return work is not None and int(idx) < len(work.states) and work.states[int(idx)] is TaskState.READY


@dataclass(slots=True)  # not frozen: that would take three times as long to make
class Placed:
    """One checked assignment."""

    work: Work
    group: ReadyGroup
    idx: int
    #: Where its work is, its main work first; ``worker`` will probably get it, and is to get it where ``is_chosen``.
    places: tuple[str, ...]
    worker: str
    is_chosen: bool = False

    @property
    def place(self) -> str:
        """Where its main work is."""
        return self.places[0]


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something illegal in a decision. ``kind`` is the same for what is wrong in the same way."""

    kind: str
    text: str


@dataclass(slots=True)
class Checked:
    """What is left of a decision: bindings (already in the works' memory), assignments, reasons, complaints."""

    bindings: list[tuple[Work, str, str]] = field(default_factory=list)
    placed: list[Placed] = field(default_factory=list)
    reasons: dict[str, Reason] = field(default_factory=dict)
    complaints: list[Complaint] = field(default_factory=list)
    #: What the next snapshot carries back, and in how many seconds the scheduler wants to be asked in any case.
    reservations: list[Reservation] = field(default_factory=list)
    look_again_s: float | None = None


class DecisionCheck:
    """Checks one decision against one look at what is ready."""

    def __init__(
        self,
        groups: Mapping[str, tuple[Work, ReadyGroup]],
        roles: OpenRoles,
        views: Mapping[str, MachineView],
        fleet: Fleet,
        workers: WorkerRoom,
        counters: Mapping[str, int],
    ) -> None:
        self._groups, self._roles, self._views = groups, roles, views
        self._fleet, self._workers = fleet, workers
        self._room = _Room(views, fleet.site, workers.capacity)
        self._counters = dict(counters)
        self._works = {work.row.id: work for work, _ in groups.values()}
        self._under_way = {work.seq: work.under_way for work in self._works.values()}
        #: By group and own machine: the machines of its tasks, and the places that they are.
        self._machines: dict[tuple[str, str | None], tuple[list[str | None], tuple[str, ...] | None]] = {}

    def check(self, decision: Any) -> Checked:
        """What is legal in the decision; raises whatever a decision of the wrong shape makes it raise."""
        if not isinstance(decision, Decision):
            raise TypeError(f"the scheduler answered {type(decision).__name__}, expected Decision")
        checked = Checked()
        try:
            for binding in decision.bindings:
                self._bind(binding, checked)
            self._place(list(decision.assignments), checked)
            checked.reasons = {
                group: reason
                for group, reason in decision.reasons.items()
                if group in self._groups and isinstance(reason, Reason) and isinstance(reason.text, str)
            }
            self._keep(decision, checked)
        except Exception:
            for work, role, _ in checked.bindings:
                del work.bindings[role]
            raise
        return checked

    def _bind(self, binding: Binding, checked: Checked) -> None:
        work = self._works.get(binding.experiment)
        requires = self._roles.requires(work, binding.role) if work is not None else None
        what = f"binding of {binding.role} to {binding.machine}"
        is_local = self._fleet.machine(binding.machine).name == LOCAL if binding.machine in self._views else False
        if is_local and work is not None and work.local != binding.machine:
            return  # a scheduler cannot know whose host that is
        if work is None or requires is None or binding.machine not in self._views:
            checked.complaints.append(Complaint("binding", f"{what}: no such role or machine is open"))
        elif binding.role in work.bindings:
            checked.complaints.append(Complaint("bound", f"{what}: it is bound to {work.bindings[binding.role]}"))
        elif (misfit := requires.misfit(self._fleet.machine(binding.machine))) is not None:
            checked.complaints.append(Complaint("misfit", f"{what}: it {misfit}"))
        else:
            name = self._fleet.machine(binding.machine).name
            work.bindings[binding.role] = name
            checked.bindings.append((work, binding.role, name))

    def _place(self, assignments: Sequence[Assignment], checked: Checked) -> None:
        owners = Owners(self._groups.values(), len(assignments))
        assigned = set[str]()
        for assignment in assignments:
            found = owners.of(assignment.task)
            if found is None or assignment.task in assigned:
                text = f"assignment of {assignment.task}: not a ready task, or assigned twice"
                checked.complaints.append(Complaint("not ready", text))
                continue
            work, group, idx = found
            machines, where = self._where(work, group, idx)
            reason = self._refusal(assignment, work, group, machines, where)
            if reason:
                text = f"assignment of {work.name(idx)} to {assignment.machine}: {reason}"
                checked.complaints.append(Complaint(_kind(reason, assignment), text))
            if reason is not None or where is None:
                continue
            assigned.add(assignment.task)
            self._under_way[work.seq] += 1
            self._room.take(where[0], group)
            for name, amount in group.counters:
                self._counters[name] -= amount
            worker = self._workers.take(group, assignment.worker, where, work.row.priority)
            checked.placed.append(Placed(work, group, idx, where, worker, assignment.worker is not None))

    def _keep(self, decision: Decision, checked: Checked) -> None:
        """What is for the next decision: reservations of ready tasks, and when it is to be made."""
        for reservation in decision.reservations:
            if not self._can_be_kept(reservation):
                text = f"reservation of {reservation.machine} for {reservation.task}: no such machine, task or time"
                checked.complaints.append(Complaint("reservation", text))
            else:
                checked.reservations.append(reservation)
        wanted_s = decision.look_again_s
        if wanted_s is None:
            return
        if isinstance(wanted_s, int | float) and wanted_s > 0:
            checked.look_again_s = wanted_s
        else:
            text = f"look_again_s is {wanted_s!r}, expected a number of seconds or None"
            checked.complaints.append(Complaint("look_again_s", text))

    def _can_be_kept(self, reservation: Reservation) -> bool:
        return (
            is_waiting(reservation.task, self._works.values())
            and reservation.machine in self._views
            and (reservation.from_s is None or math.isfinite(reservation.from_s))
        )

    def _where(self, work: Work, group: ReadyGroup, idx: int) -> tuple[list[str | None], tuple[str, ...] | None]:
        """The task's machines, and the places that they are; None while one of them is open."""
        of = group.key, work.own_machine(group, idx)
        if (known := self._machines.get(of)) is None:  # bindings come first: they do not change any more
            names = [work.machine_of(idx, role) for role in group.roles or (LOCAL,)]
            known = self._machines[of] = names, places(work, names)
        return known

    def _refusal(
        self,
        assignment: Assignment,
        work: Work,
        group: ReadyGroup,
        machines: Sequence[str | None],
        where: tuple[str, ...] | None,
    ) -> str | None:
        """Why the assignment is illegal; empty where it is only too early, None where nothing is wrong."""
        if where is None:
            return "a role of it has no machine"
        if assignment.machine != where[0]:
            return f"its machine is {where[0]}"
        if any(name in self._fleet.held for name in machines):
            return "a machine of it is held"
        refusal = self._workers.refusal(group, assignment.worker, where)
        if refusal is not None:
            return refusal
        if work.experiment.max_running is not None and self._under_way[work.seq] >= work.experiment.max_running:
            return "max_running is reached"
        for name, amount in group.counters:
            if self._counters.get(name, 0) < amount:
                return f"counter {name} is used up"
        return self._room.refusal(where[0], group)


def _kind(reason: str, assignment: Assignment) -> str:
    """The reason without the worker's name: a scheduler may think of a new one each time."""
    return reason.replace(assignment.worker, "*") if assignment.worker else reason


class _Room:
    """What is left of the machines while assignments are checked; names of one login share what there is."""

    def __init__(self, views: Mapping[str, MachineView], site: Callable[[str], str], capacity: Capacity) -> None:
        self._views, self._site, self._capacity = views, site, capacity
        self._packs = capacity.packs
        self._taken: dict[str, tuple[int | Fraction, ...]] = {}

    def refusal(self, name: str, group: ReadyGroup) -> str | None:
        """Why one more task of the group does not fit, None where it does; empty where a scheduler cannot know that."""
        if not group.needs_capacity or self._fits(name, group, self._taken.get(self._site(name), _NOTHING)):
            return None
        # it sees names, not that two of them are one machine, and tasks, not that several of them are one job
        if name in self._packs or self._fits(name, group, self._taken.get(f"\0{name}", _NOTHING)):
            return ""
        return "the machine has no room for it"

    def _fits(self, name: str, group: ReadyGroup, taken: Iterable[int | Fraction]) -> bool:
        view = self._views[name]
        left = (None if view.queueing else view.free_cpus, None if view.queueing else view.free_memory_bytes,
                None if view.queueing else view.free_gpus, view.jobs_left)  # fmt: skip
        return all(
            there is None or there - used >= wanted
            for there, used, wanted in zip(left, taken, self._wanted(group), strict=True)
        )

    def take(self, name: str, group: ReadyGroup) -> None:
        """One task of the group starts."""
        if group.needs_capacity:
            for key in (self._site(name), f"\0{name}"):
                used = self._taken.get(key, _NOTHING)
                self._taken[key] = tuple(map(sum, zip(used, self._wanted(group), strict=True)))

    def _wanted(self, group: ReadyGroup) -> tuple[int | Fraction, ...]:
        pack = self._capacity.pack(group.key)
        jobs = 1 if pack == 1 else Fraction(1, pack)
        return group.resources.cpus, group.resources.memory_bytes, group.resources.gpus, jobs


_NOTHING = (0, 0, 0, 0)
