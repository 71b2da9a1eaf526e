"""What is left while a scheduler places tasks: slots, machines, caps, counters. For schedulers that go group by group.

It takes from a snapshot what the core would let be taken: the scheduler is left with the question who goes first.
"""

from __future__ import annotations

import heapq
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from operator import itemgetter

from wlmctl.machine import Machine
from wlmctl.scheduler import Binding, Group, MachineView, Reason, Snapshot, UnboundRole, UnboundRoles, WorkerView
from wlmctl.task import Resources

_KINDS = ("cpus", "memory_bytes", "gpus")

#: So many machines are named that a role does not fit.
_NAMED = 3


class Room:
    """The room of one snapshot; ``bindings`` are the roles that have no machine, each with one that fits, if possible
    one that a worker reaches: the first, or of an ``each`` one after the other, as many as are due to its cpus.

    ``unfit`` tells, by group, why no machine fits its role.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._doing = defaultdict[str, list[WorkerView]](list)
        for worker in reversed(snapshot.workers):
            for task_type in worker.types:
                self._doing[task_type].append(worker)
        self._free = {worker.id: worker.free_slots for worker in snapshot.workers}
        self._starts = {group.experiment: group.may_start for group in snapshot.groups}
        self._counters = dict(snapshot.counters)
        self._machines = {name: _Left(view) for name, view in snapshot.machines.items()}
        #: By what is asked of a worker: those that can do it and have not been found busy, the first one last.
        self._able: dict[tuple[object, ...], list[str] | None] = {}
        self.bindings = list[Binding]()
        self.unfit = dict[str, Reason]()
        each: list[tuple[UnboundRole | UnboundRoles, Sequence[str]]] = [(role, (role.role,)) for role in snapshot.roles]
        each += [(alike, alike.roles) for alike in snapshot.role_classes]
        reached = frozenset[str]().union(*[worker.machines for worker in snapshot.workers])
        bound = Counter(binding.machine for binding in snapshot.bindings if "[" in binding.role)
        for role, names in each:
            fitting = [view for view in snapshot.machines.values() if _misfit(role, view) is None]
            if not fitting:
                self.unfit |= dict.fromkeys(role.groups, Reason("role", _no_fit(names, role, snapshot.machines)))
            else:
                fitting = [view for view in fitting if view.name in reached] or fitting
                machines = _in_turn(fitting, bound) if "[" in names[0] else repeat(fitting[0].name)
                self.bindings += [Binding(role.experiment, *pair) for pair in zip(names, machines, strict=False)]
        self._bound = {(each.experiment, each.role): each.machine for each in self.bindings}

    def machine(self, group: Group) -> str | None:
        """The group's machine, also where it has just been bound; None while it has none."""
        return group.machine if group.unbound is None else self._bound.get((group.experiment, group.unbound))

    def take(self, group: Group, tasks: int) -> tuple[list[str], Reason | None]:
        """Workers for at most so many more tasks of the group, which take what they need; why no more, if not all."""
        machine = self.machine(group)
        if group.unbound is not None and machine is None:
            return [], self.unfit.get(group.id) or Reason("role", f"the role {group.unbound} has no machine")
        touches = group.touches if group.unbound is None else (*group.touches, str(machine))
        for name in touches:
            if name in self._machines and self._machines[name].view.held:
                return [], Reason("held", f"machine {name} is held")
        able = self._able_to(group, touches)
        if able is None:
            return [], Reason("worker", "no live worker can do it")
        here = self._machines.get(machine or "")
        limits = self._limits(group)
        if here is not None:
            limits.append((here.times(group.resources), Reason("capacity", f"machine {machine} has no room for it")))
        # of those that end at the same task the first is named
        most, reason = min(limits, key=itemgetter(0), default=(tasks, None))
        workers = self._slots(able, min(tasks, most))
        if len(workers) == tasks:
            reason = None
        elif not able and (reason is None or len(workers) < most or reason.code != "max_running"):
            reason = Reason("slots", "every worker that can do it is busy")
        starts = self._starts[group.experiment]
        self._starts[group.experiment] = None if starts is None else starts - len(workers)
        for name, amount in group.counters:
            self._counters[name] = self._counters.get(name, 0) - len(workers) * amount
        if here is not None:
            here.take(group.resources, len(workers))
        return workers, reason

    def _limits(self, group: Group) -> list[tuple[int, Reason]]:
        """How many more tasks of the group the experiment's cap and the counters allow, and what to say at the end."""
        found = list[tuple[int, Reason]]()
        starts = self._starts[group.experiment]
        if starts is not None:
            found.append((max(0, starts), Reason("max_running", "the experiment's max_running is reached")))
        for name, amount in group.counters:
            if amount:
                times, left = divmod(max(0, self._counters.get(name, 0)), amount)
                found.append((times, Reason("counter", f"counter {name} has {left} left, it takes {amount}")))
        return found

    def _able_to(self, group: Group, touches: tuple[str, ...]) -> list[str] | None:
        """Those that can do the group's tasks and have not been found busy; None where nobody can do them."""
        key = group.type, group.worker_labels, touches
        if key not in self._able:
            able = [
                worker.id
                for worker in self._doing.get(group.type, ())
                if worker.labels.issuperset(group.worker_labels) and worker.machines.issuperset(touches)
            ]
            self._able[key] = able or None
        return self._able[key]

    def _slots(self, able: list[str], wanted: int) -> list[str]:
        """Take at most so many slots of these workers, each by its worker's id; whoever is busy is left out."""
        found = list[str]()
        while able:
            free = self._free[able[-1]]
            part = min(free, wanted - len(found))
            if part > 0:
                found += [able[-1]] * part
                self._free[able[-1]] = free - part
            if free > part:
                break
            able.pop()
        return found


class _Left:
    """What is left of a machine; a batch system of its own queues what does not fit now."""

    def __init__(self, view: MachineView) -> None:
        self.view, self._jobs = view, view.jobs_left
        free = (view.free_cpus, view.free_memory_bytes, view.free_gpus)
        self._free = [None if view.queueing else each for each in free]

    def times(self, asked: Resources) -> int:
        """How many tasks that ask for this fit; a step that is no job takes nothing."""
        if not asked.cpus:
            return sys.maxsize
        times = sys.maxsize if self._jobs is None else max(0, self._jobs)
        for kind, free in zip(_KINDS, self._free, strict=True):
            each, whole = getattr(asked, kind), getattr(self.view, kind)
            if whole is not None and each > whole:
                return 0  # not even the whole machine, or its largest node, has that much
            if each and free is not None:
                times = min(times, max(0, free) // each)
        return times

    def take(self, asked: Resources, tasks: int) -> None:
        """So many such tasks start."""
        if asked.cpus:
            self._jobs = None if self._jobs is None else self._jobs - tasks
            self._free = [
                None if free is None else free - tasks * getattr(asked, kind)
                for kind, free in zip(_KINDS, self._free, strict=True)
            ]


def _in_turn(views: Sequence[MachineView], bound: Counter[str]) -> Iterator[str]:
    """One machine after the other, that which has fewest bound for its cpus; they are counted in ``bound``."""
    heap = [((bound[view.name] + 1) / (view.cpus or 1), number) for number, view in enumerate(views)]
    heapq.heapify(heap)
    while True:
        _, number = heap[0]
        view = views[number]
        bound[view.name] += 1
        yield view.name
        heapq.heapreplace(heap, ((bound[view.name] + 1) / (view.cpus or 1), number))


def _misfit(role: UnboundRole | UnboundRoles, view: MachineView) -> str | None:
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
        for kind in _KINDS:
            asked, there = getattr(need.resources, kind), getattr(view, kind)
            if there is not None and asked > there:
                what = kind.removesuffix("_bytes")
                return f"has {there} {what}, a {need.type} of it asks for {asked}"
    return None


def _no_fit(names: Sequence[str], role: UnboundRole | UnboundRoles, machines: Mapping[str, MachineView]) -> str:
    name = names[0] if len(names) == 1 else names[0].partition("[")[0]
    whys = [f"{there} {_misfit(role, view)}" for there, view in machines.items() if there not in role.barred]
    more = f"; and {len(whys) - _NAMED} more" if len(whys) > _NAMED else ""
    return f"no machine fits the role {name}: {'; '.join(whys[:_NAMED])}{more}"
