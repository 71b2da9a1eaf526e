"""From ready tasks to assignments: the snapshot a scheduler gets, and the check of what it answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wlmctl.machine import LOCAL, Requirement
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.work import ReadyGroup, Work
from wlmctl.scheduler import (
    Assignment,
    Binding,
    Decision,
    Group,
    MachineView,
    Scheduler,
    Snapshot,
    UnboundRole,
    WorkerView,
)
from wlmctl.task import ExperimentState

log = logging.getLogger(__name__)


class TaskIds(Sequence[str]):
    """The ids of ready tasks, made when they are asked for."""

    __slots__ = ("_positions", "_seq")

    def __init__(self, seq: int, positions: list[int]) -> None:
        self._seq, self._positions = seq, positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return [f"{self._seq}.{position}" for position in self._positions[index]]
        return f"{self._seq}.{self._positions[index]}"


@dataclass(frozen=True, slots=True)
class Placed:
    """One checked assignment."""

    work: Work
    group: ReadyGroup
    idx: int
    machine: str


class Placement:
    """One look at what is ready: builds the snapshot, asks the scheduler, keeps only what is legal."""

    def __init__(
        self, works: Sequence[Work], fleet: Fleet, views: Mapping[str, MachineView], worker: WorkerView
    ) -> None:
        self._works, self._fleet, self._worker = works, fleet, worker
        self._views = views
        self._groups: dict[str, tuple[Work, ReadyGroup]] = {}
        self._unbound: dict[tuple[int, str], UnboundRole] = {}
        self.unknown: set[str] = set()

    def snapshot(self, now_s: float) -> Snapshot:
        """What the scheduler may know now."""
        groups = list[Group]()
        for work in self._works:
            if work.state is not ExperimentState.RUNNING:
                continue
            limit = work.experiment.max_running
            may_start = None if limit is None else max(0, limit - work.under_way)
            for ready in work.ready.values():
                if ready.tasks:
                    groups.append(self._group(work, ready, may_start, now_s))
        return Snapshot(
            now_s,
            0,
            groups,
            [self._worker],
            dict(self._views),
            roles=tuple(self._unbound.values()),
            bindings=tuple(
                Binding(work.row.id, role, machine) for work in self._works for role, machine in work.bindings.items()
            ),
        )

    def _group(self, work: Work, ready: ReadyGroup, may_start: int | None, now_s: float) -> Group:
        self._groups[ready.key] = (work, ready)
        idx = ready.tasks[0]
        roles = ready.roles or (LOCAL,)
        machines = [work.machine_of(idx, role) for role in roles]
        unbound = None
        for role, machine in zip(roles, machines, strict=True):
            if machine is None:
                unbound = unbound or work.role_key(idx, role)
                self._note_unbound(work, role, work.role_key(idx, role), ready.key)
            elif ready.needs_capacity and not self._fleet.is_known(machine):
                self.unknown.add(machine)
        return Group(
            ready.key,
            work.row.id,
            ready.type,
            TaskIds(work.seq, ready.tasks),
            machines[0],
            tuple(machine for machine in machines if machine is not None),
            unbound,
            ready.resources,
            ready.worker_labels,
            work.row.priority,
            work.seq,
            max(0.0, now_s - (ready.since_s or now_s)),
            may_start,
        )

    def _note_unbound(self, work: Work, role: str, key: str, group: str) -> None:
        known = self._unbound.get((work.seq, key))
        if known is not None:
            self._unbound[work.seq, key] = replace(known, groups=(*known.groups, group))
            return
        requires = work.experiment.roles[role].requires or Requirement()
        self._unbound[work.seq, key] = UnboundRole(work.row.id, key, requires, (group,))
        if requires.cpus is not None or requires.memory_bytes is not None or requires.gpus is not None:
            self.unknown.update(name for name in self._fleet.names() if not self._fleet.is_known(name))

    def has_ready(self) -> bool:
        """True when some group is ready."""
        return bool(self._groups)

    def ask(
        self, scheduler: Scheduler, snapshot: Snapshot
    ) -> tuple[list[tuple[Work, str, str]], list[Placed], list[str]]:
        """The scheduler's bindings and assignments that are legal, and a line for each that is not."""
        decision = scheduler.assign(snapshot)
        if not isinstance(decision, Decision):
            raise TypeError(f"the scheduler answered {type(decision).__name__}, expected Decision")
        complaints = list[str]()
        bindings = list[tuple[Work, str, str]]()
        works = {work.row.id: work for work in self._works}
        for binding in decision.bindings:
            work = works.get(binding.experiment)
            role = self._unbound.get((work.seq, binding.role)) if work is not None else None
            view = self._views.get(binding.machine)
            if work is None or role is None or view is None:
                complaints.append(f"binding of {binding.role} to {binding.machine}: no such role or machine is open")
            elif (misfit := role.requires.misfit(self._fleet.machine(binding.machine))) is not None:
                complaints.append(f"binding of {binding.role} to {binding.machine}: it {misfit}")
            else:
                work.bindings[binding.role] = binding.machine
                bindings.append((work, binding.role, binding.machine))
        return bindings, self._checked(decision.assignments, complaints), complaints

    def _checked(self, assignments: Sequence[Assignment], complaints: list[str]) -> list[Placed]:
        owner = {}
        placed = list[Placed]()
        left = {name: _Left(view) for name, view in self._views.items()}
        slots = self._worker.free_slots
        under_way = {work.seq: work.under_way for work in self._works}
        for work, group in self._groups.values():
            for idx in group.tasks[: len(assignments)]:
                owner[f"{work.seq}.{idx}"] = (work, group, idx)
        for assignment in assignments:
            found = owner.pop(assignment.task, None)
            if found is None:
                complaints.append(f"assignment of {assignment.task}: not a ready task, or assigned twice")
                continue
            work, group, idx = found
            reason = self._refusal(assignment, work, group, idx, left, slots, under_way[work.seq])
            if reason is not None:
                complaints.append(f"assignment of {work.name(idx)} to {assignment.machine}: {reason}")
                continue
            slots -= 1
            under_way[work.seq] += 1
            left[assignment.machine or LOCAL].take(group)
            placed.append(Placed(work, group, idx, assignment.machine or LOCAL))
        return placed

    def _refusal(
        self,
        assignment: Assignment,
        work: Work,
        group: ReadyGroup,
        idx: int,
        left: Mapping[str, _Left],
        slots: int,
        under_way: int,
    ) -> str | None:
        machines = [work.machine_of(idx, role) for role in group.roles or (LOCAL,)]
        if None in machines:
            return "a role of it has no machine"
        if assignment.machine != machines[0]:
            return f"its machine is {machines[0]}"
        if assignment.worker not in (None, self._worker.id):
            return f"no live worker {assignment.worker}"
        if any(name in self._fleet.held for name in machines):
            return "a machine of it is held"
        if slots < 1:
            return "no worker has a free slot"
        if work.experiment.max_running is not None and under_way >= work.experiment.max_running:
            return "max_running is reached"
        if not left[assignment.machine or LOCAL].has(group):
            return "the machine has no room for it"
        return None


class _Left:
    """What is left of a machine while assignments are checked."""

    def __init__(self, view: MachineView) -> None:
        self._queueing = view.queueing
        self._left = [view.free_cpus, view.free_memory_bytes, view.free_gpus]
        self._jobs = view.jobs_left

    def _wants(self, group: ReadyGroup) -> tuple[int, int, int]:
        return group.resources.cpus, group.resources.memory_bytes, group.resources.gpus

    def has(self, group: ReadyGroup) -> bool:
        """True when one more task of the group fits."""
        if not group.needs_capacity:
            return True
        if self._jobs is not None and self._jobs < 1:
            return False
        return self._queueing or all(
            left is None or left >= wanted for left, wanted in zip(self._left, self._wants(group), strict=True)
        )

    def take(self, group: ReadyGroup) -> None:
        """One task of the group starts."""
        if group.needs_capacity:
            self._left = [
                None if left is None else left - wanted
                for left, wanted in zip(self._left, self._wants(group), strict=True)
            ]
            self._jobs = None if self._jobs is None else self._jobs - 1
