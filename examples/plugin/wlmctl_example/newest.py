"""The scheduler ``newest``: by priority, and of one priority the newest experiment first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wlmctl.errors import ConfigError
from wlmctl.machine import Machine
from wlmctl.scheduler import Assignment, Binding, Decision, Group, MachineView, Reason, Snapshot, WorkerView

KINDS = ("cpus", "memory_bytes", "gpus")


class Newest:
    """A pure function: all that it counts lives in a ``Room`` of one call."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        if options:
            raise ConfigError(f"scheduler_options: {sorted(options)[0]}: newest has no options")

    def assign(self, snapshot: Snapshot) -> Decision:
        room, reasons, assignments = Room(snapshot), {}, []
        bindings = bind(snapshot)
        bound = {(binding.experiment, binding.role): binding.machine for binding in bindings}
        for group in sorted(snapshot.groups, key=lambda group: (-group.priority, -group.order)):
            machine = group.machine if group.unbound is None else bound.get((group.experiment, group.unbound))
            if group.unbound and machine is None:
                reasons[group.id] = Reason("no-machine", f"no machine fits the role {group.unbound}")
                continue
            for task in group.tasks:
                worker = room.take(group, machine)
                if worker is None:
                    reasons[group.id] = Reason("no-room", "no able worker or no room on the machine now")
                    break
                assignments.append(Assignment(task, machine, worker))
        return Decision(assignments, bindings, reasons=reasons)


def bind(snapshot: Snapshot) -> list[Binding]:
    """The first machine that fits, for each role that has none."""
    found = []
    for role in snapshot.roles:
        fits = (name for name, view in snapshot.machines.items() if role.requires.misfit(as_machine(view)) is None)
        if (name := next(fits, None)) is not None:
            found.append(Binding(role.experiment, role.role, name))
    return found


def as_machine(view: MachineView) -> Machine:
    return Machine(view.name, labels=view.labels, cpus=view.cpus, memory_bytes=view.memory_bytes, gpus=view.gpus)


@dataclass
class Room:
    """What is left while tasks are placed."""

    snapshot: Snapshot
    slots: dict[str, int] = field(default_factory=dict)
    free: dict[tuple[str, str], float] = field(default_factory=dict)
    starts: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.slots = {worker.id: worker.free_slots for worker in self.snapshot.workers}
        for view in self.snapshot.machines.values():
            for kind in KINDS:
                left = getattr(view, f"free_{kind}")
                self.free[view.name, kind] = float("inf") if left is None else left
            self.free[view.name, "jobs"] = float("inf") if view.jobs_left is None else view.jobs_left
        self.starts = {g.experiment: float("inf") if g.may_start is None else g.may_start for g in self.snapshot.groups}

    def take(self, group: Group, machine: str | None) -> str | None:
        """The worker for one more task of the group, which is counted; None where it does not fit."""
        worker = next((worker.id for worker in self.snapshot.workers if self._able(worker, group, machine)), None)
        wanted = self._wanted(group, machine)
        if worker is None or wanted is None or self.starts[group.experiment] < 1:
            return None
        self.slots[worker] -= 1
        self.starts[group.experiment] -= 1
        for key, amount in wanted.items():
            self.free[key] -= amount
        return worker

    def _able(self, worker: WorkerView, group: Group, machine: str | None) -> bool:
        touched = {*group.touches, *([machine] if machine else [])}
        held = any(self.snapshot.machines[name].held for name in touched if name in self.snapshot.machines)
        able = group.type in worker.types and touched <= worker.machines and set(group.worker_labels) <= worker.labels
        return able and not held and self.slots[worker.id] > 0

    def _wanted(self, group: Group, machine: str | None) -> dict[tuple[str, str], float] | None:
        view = self.snapshot.machines.get(machine or "")
        if view is None:
            return {}
        wanted = {(view.name, "jobs"): float(group.type == "job")}
        for kind in KINDS:
            asked, whole = getattr(group.resources, kind), getattr(view, kind)
            if view.queueing and whole is not None and asked > whole:
                return None
            wanted[view.name, kind] = 0 if view.queueing else asked
        return wanted if all(self.free[key] >= amount for key, amount in wanted.items()) else None
