"""First in, first out, by priority: what fits starts, and a group that does not fit holds up no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wlmctl.errors import ConfigError
from wlmctl.machine import Machine
from wlmctl.quantities import parse_duration
from wlmctl.scheduler import (
    Assignment,
    Binding,
    Decision,
    Group,
    MachineView,
    Reason,
    Snapshot,
    UnboundRole,
    WorkerView,
)

#: Seconds of waiting after which a group counts as one priority level higher, so that nothing starves.
AGEING_STEP_S = 3600.0


class Fifo:
    """The policy. Options: ``ageing_step``, a duration (0: no ageing)."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        unknown = sorted(set(options) - {"ageing_step"})
        if unknown:
            raise ConfigError(f"scheduler_options.{unknown[0]}: unknown option of fifo, expected ageing_step")
        step = options.get("ageing_step", AGEING_STEP_S)
        try:
            self._step_s = parse_duration(str(step))
        except ValueError as error:
            raise ConfigError(f"scheduler_options.ageing_step: {error}") from error

    def assign(self, snapshot: Snapshot) -> Decision:
        """Bind each open role to the first machine that fits, then place groups by priority and age."""
        bindings, reasons = dict[tuple[str, str], str](), dict[str, Reason]()
        for role in snapshot.roles:
            machine = _first_fit(role, snapshot.machines)
            if machine is not None:
                bindings[role.experiment, role.role] = machine
            for waiting in role.groups:
                if machine is None:
                    reasons[waiting] = Reason("role", _no_fit(role, snapshot.machines))
        room = {name: _Room(view) for name, view in snapshot.machines.items()}
        slots = _Slots(snapshot.workers)
        may_start = {group.experiment: group.may_start for group in snapshot.groups}
        counters = dict(snapshot.counters)
        assignments = list[Assignment]()
        for group in sorted(snapshot.groups, key=self._rank):
            if group.unbound is not None:
                continue  # its role is bound by this decision, if at all: it is placed by the next one
            reason = self._place(group, room, slots, may_start, counters, assignments)
            if reason is not None:
                reasons[group.id] = reason
        return Decision(
            assignments, [Binding(experiment, role, name) for (experiment, role), name in bindings.items()], (), reasons
        )

    def _rank(self, group: Group) -> tuple[float, int, str]:
        levels = int(group.age_s // self._step_s) if self._step_s else 0
        return -min(9, group.priority + levels), group.order, group.tasks[0] if not group.order else ""

    def _place(
        self,
        group: Group,
        room: Mapping[str, _Room],
        slots: _Slots,
        may_start: dict[str, int | None],
        counters: dict[str, int],
        assignments: list[Assignment],
    ) -> Reason | None:
        """Start as many of the group as fit; why not all, if not all."""
        for name in group.touches:
            if name in room and room[name].held:
                return Reason("held", f"machine {name} is held")
        able = slots.able(group)
        if able is None:
            return Reason("worker", "no live worker can do it")
        here = room.get(group.machine or "")
        for task in group.tasks:
            left = may_start[group.experiment]
            if left is not None and left < 1:
                return Reason("max_running", "the experiment's max_running is reached")
            worker = slots.first(able)
            if worker is None:
                return Reason("slots", "every worker that can do it is busy")
            for name, amount in group.counters:
                if counters.get(name, 0) < amount:
                    return Reason("counter", f"counter {name} has {counters.get(name, 0)} left, it takes {amount}")
            if here is not None and not here.take(group):
                return Reason("capacity", f"machine {group.machine} has no room for it")
            for name, amount in group.counters:
                counters[name] -= amount
            slots.take(worker)
            may_start[group.experiment] = None if left is None else left - 1
            assignments.append(Assignment(task, group.machine))
        return None


class _Slots:
    """The free slots of the workers while the groups are placed; they only become fewer."""

    def __init__(self, workers: Sequence[WorkerView]) -> None:
        self._workers = workers
        self._free = {worker.id: worker.free_slots for worker in workers}
        self._able: dict[tuple[object, ...], list[str] | None] = {}

    def able(self, group: Group) -> list[str] | None:
        """Who can do the group's tasks and has not been found busy, the first one last; None: nobody can do them."""
        key = group.type, group.worker_labels, group.touches
        if key not in self._able:
            able = [
                worker.id
                for worker in reversed(self._workers)
                if group.type in worker.types
                and worker.labels.issuperset(group.worker_labels)
                and worker.machines.issuperset(group.touches)
            ]
            self._able[key] = able or None
        return self._able[key]

    def first(self, able: list[str]) -> str | None:
        """The first of them with a free slot, None where all are busy; whoever is busy is left out from now on."""
        while able and self._free[able[-1]] < 1:
            able.pop()
        return able[-1] if able else None

    def take(self, worker: str) -> None:
        """One slot of the worker is taken."""
        self._free[worker] -= 1


def _first_fit(role: UnboundRole, machines: Mapping[str, MachineView]) -> str | None:
    return next((name for name, view in machines.items() if _misfit(role, view) is None), None)


def _misfit(role: UnboundRole, view: MachineView) -> str | None:
    """Why the role cannot be bound to the machine; a machine that cannot do its last task is none for its first."""
    if view.name in role.barred:
        return "is not its local"
    if view.held:
        return "is held"
    offered = Machine(view.name, labels=view.labels, cpus=view.cpus, memory_bytes=view.memory_bytes, gpus=view.gpus)
    misfit = role.requires.misfit(offered)
    if misfit is not None:
        return misfit
    for need in role.needs:
        for kind in ("cpus", "memory_bytes", "gpus"):
            asked, there = getattr(need.resources, kind), getattr(view, kind)
            if there is not None and asked > there:
                what = kind.removesuffix("_bytes")
                return f"has {there} {what}, a {need.type} of it asks for {asked}"
    return None


def _no_fit(role: UnboundRole, machines: Mapping[str, MachineView]) -> str:
    whys = [f"{name} {_misfit(role, view)}" for name, view in machines.items() if name not in role.barred]
    more = f"; and {len(whys) - 3} more" if len(whys) > 3 else ""
    return f"no machine fits the role {role.role}: {'; '.join(whys[:3])}{more}"


class _Room:
    """What is left of a machine while the groups are placed."""

    def __init__(self, view: MachineView) -> None:
        self.held = view.held
        self._queueing = view.queueing
        self._cpus, self._memory, self._gpus = view.free_cpus, view.free_memory_bytes, view.free_gpus
        self._whole = (view.cpus, view.memory_bytes, view.gpus)
        self._jobs = view.jobs_left

    def take(self, group: Group) -> bool:
        """Take one task's share; False when it does not fit."""
        wanted = group.resources
        if not wanted.cpus:
            return True  # a step that is no job takes nothing of the machine
        if self._jobs is not None and self._jobs < 1:
            return False
        asked = (wanted.cpus, wanted.memory_bytes, wanted.gpus)
        if any(whole is not None and share > whole for share, whole in zip(asked, self._whole, strict=True)):
            return False  # not even the whole machine, or its largest node, has that much
        cpus, memory, gpus = (
            None if left is None else left - share
            for left, share in (
                (self._cpus, wanted.cpus),
                (self._memory, wanted.memory_bytes),
                (self._gpus, wanted.gpus),
            )
        )
        if not self._queueing and any(left is not None and left < 0 for left in (cpus, memory, gpus)):
            return False
        self._cpus, self._memory, self._gpus = cpus, memory, gpus
        self._jobs = None if self._jobs is None else self._jobs - 1
        return True
