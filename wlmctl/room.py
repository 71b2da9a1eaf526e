"""What is left while a scheduler places tasks: slots, machines, caps, counters. For schedulers that go task by task.

It takes from a snapshot what the core would let be taken: the scheduler is left with the question who goes first.
"""

from __future__ import annotations

from math import inf

from wlmctl.machine import Machine
from wlmctl.scheduler import Binding, Group, MachineView, Reason, Snapshot, UnboundRole

_KINDS = ("cpus", "memory_bytes", "gpus")


class Room:
    """The room of one snapshot; ``bindings`` are the roles that have no machine, each with the first that fits."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._slots = {worker.id: worker.free_slots for worker in snapshot.workers}
        self._starts = {group.experiment: group.may_start for group in snapshot.groups}
        self._left: dict[tuple[str, str], float] = {("counter", name): n for name, n in snapshot.counters.items()}
        for view in snapshot.machines.values():
            for kind in _KINDS:
                free = getattr(view, f"free_{kind}")
                self._left[view.name, kind] = inf if free is None or view.queueing else free
            self._left[view.name, "jobs"] = inf if view.jobs_left is None else view.jobs_left
        #: By what is asked of a worker: those that can do it and have not been found busy, the next one last.
        self._able: dict[tuple[object, ...], list[str]] = {}
        self.bindings = [
            Binding(role.experiment, role.role, name)
            for role in snapshot.roles
            for name in [view.name for view in snapshot.machines.values() if _fits(view, role)][:1]
        ]
        self._bound = {(each.experiment, each.role): each.machine for each in self.bindings}

    def machine(self, group: Group) -> str | None:
        """The group's machine, also where it has just been bound; None while it has none."""
        return group.machine if group.unbound is None else self._bound.get((group.experiment, group.unbound))

    def take(self, group: Group) -> str | Reason:
        """The worker for one more task of the group, which takes what it needs; why not, where there is no room."""
        missing = self._missing(group)
        if missing is not None:
            return missing
        worker = self._workers(group)[-1]
        self._slots[worker] -= 1
        left = self._starts[group.experiment]
        self._starts[group.experiment] = None if left is None else left - 1
        for key, amount in self._wanted(group).items():
            self._left[key] -= amount
        return worker

    def _missing(self, group: Group) -> Reason | None:
        machine = self.machine(group)
        if group.unbound is not None and machine is None:
            return Reason("role", f"no machine fits the role {group.unbound}")
        for name in (*group.touches, machine or ""):
            if name in self._snapshot.machines and self._snapshot.machines[name].held:
                return Reason("held", f"machine {name} is held")
        left = self._starts[group.experiment]
        if left is not None and left < 1:
            return Reason("max_running", "the experiment's max_running is reached")
        if not self._workers(group):
            return Reason("worker", "no live worker that can do it has a free slot")
        view = self._snapshot.machines.get(machine or "")
        if view is not None and any(getattr(group.resources, kind) > _whole(view, kind) for kind in _KINDS):
            return Reason("capacity", f"machine {machine} has no room for it")
        for (owner, what), amount in self._wanted(group).items():
            if self._left.get((owner, what), 0) < amount:
                short = f"counter {what} is used up" if owner == "counter" else f"machine {owner} has no room for it"
                return Reason("counter" if owner == "counter" else "capacity", short)
        return None

    def _workers(self, group: Group) -> list[str]:
        """The able workers with a free slot; whoever is busy now stays so."""
        machine = self.machine(group)
        touched = {*group.touches, *([machine] if machine else [])}
        key = group.type, group.worker_labels, group.touches, machine
        if key not in self._able:
            self._able[key] = [
                worker.id
                for worker in reversed(self._snapshot.workers)
                if group.type in worker.types
                and touched <= worker.machines
                and worker.labels.issuperset(group.worker_labels)
            ]
        able = self._able[key]
        while able and self._slots[able[-1]] < 1:
            able.pop()
        return able

    def _wanted(self, group: Group) -> dict[tuple[str, str], float]:
        wanted: dict[tuple[str, str], float] = {("counter", name): amount for name, amount in group.counters}
        machine = self.machine(group)
        if machine in self._snapshot.machines and group.resources.cpus:
            wanted[str(machine), "jobs"] = 1
            wanted |= {(str(machine), kind): getattr(group.resources, kind) for kind in _KINDS}
        return wanted


def _whole(view: MachineView, kind: str) -> float:
    whole = getattr(view, kind)
    return inf if whole is None else whole


def _fits(view: MachineView, role: UnboundRole) -> bool:
    if view.held or view.name in role.barred:
        return False
    machine = Machine(view.name, labels=view.labels, cpus=view.cpus, memory_bytes=view.memory_bytes, gpus=view.gpus)
    return role.requires.misfit(machine) is None
