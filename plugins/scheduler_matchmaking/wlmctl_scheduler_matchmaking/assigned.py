"""The assignments and the bindings of a decision, made when they are asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, repeat

from wlmctl.scheduler import Assignment, Binding, UnboundRole, UnboundRoles
from wlmctl_scheduler_matchmaking.flow import Flow, bits
from wlmctl_scheduler_matchmaking.made import Made
from wlmctl_scheduler_matchmaking.runs import Runs
from wlmctl_scheduler_matchmaking.workers import Fleet, WorkerClass


class Assigned(Made[Assignment]):
    """The assignments of runs, with ``workers`` for the tasks of each demand class; without, any that can do them."""

    def __init__(self, runs: Runs, workers: Mapping[int, Sequence[str]]) -> None:
        self._runs, self._workers = runs, workers

    def __len__(self) -> int:
        return self._runs.tasks

    def __iter__(self) -> Iterator[Assignment]:
        used = dict.fromkeys(self._workers, 0)
        for group, first, count, demand, machine, more in self._runs:
            workers: Iterable[str | None] = repeat(None)
            if demand in used:
                start = used[demand]
                used[demand] = start + count
                workers = self._workers[demand][start : start + count]
            for task, worker in zip(group.tasks[first : first + count], workers, strict=False):
                yield Assignment(task, machine, worker, more)


class Bound(Made[Binding]):
    """The bindings of roles to machines; more may come."""

    def __init__(self) -> None:
        self.roles, self.machines = list[UnboundRole](), list[str]()
        #: Of classes of roles that were bound at once: which of the roles, and the machines of these.
        self.classes = list[tuple[UnboundRoles, Sequence[int], Sequence[str]]]()

    def __len__(self) -> int:
        return len(self.roles) + sum([len(numbers) for _, numbers, _ in self.classes])

    def __iter__(self) -> Iterator[Binding]:
        for role, machine in zip(self.roles, self.machines, strict=True):
            yield Binding(role.experiment, role.role, machine)
        for alike, numbers, machines in self.classes:
            for number, machine in zip(numbers, machines, strict=True):
                yield Binding(alike.experiment, alike.roles[number], machine)


def assigned(runs: Runs, flow: Flow, fleet: Fleet, placement: str | None) -> Assigned:
    """The runs with a worker for each task, as the flow has it.

    Where the able workers cost the same, and no tasks compete for them but such as all of them can do, any will do:
    the core chooses.
    """
    return Assigned(runs, _by_demand(flow, fleet, placement))


def _by_demand(flow: Flow, fleet: Fleet, placement: str | None) -> Mapping[int, list[str]]:
    """The workers of each demand class whose workers matter, one for each task that was sent."""
    alone, found = _alone(flow), defaultdict[int, list[str]](list)
    for number, held in enumerate(flow.held):
        if not held or alone >> number & 1:
            continue
        names = _slots(fleet.classes[number], sum(held.values()), placement)
        for demand, tasks in sorted(held.items()):
            found[demand] += islice(names, tasks)
    return found


def _alone(flow: Flow) -> int:
    """The worker classes of sets that cost the same throughout and that no other tasks can go to."""
    wanted = competing = alone = 0
    distinct = set(flow.able)
    for able in distinct:
        competing |= wanted & able
        wanted |= able
    for able in distinct:
        if not able & competing and len({flow.prices[number] for number in bits(able)}) == 1:
            alone |= able
    return alone


def _slots(workers: WorkerClass, wanted: int, placement: str | None) -> Iterator[str]:
    """So many slots of a class of workers, each by its worker's id."""
    if wanted == workers.slots:
        ids = sorted(workers.free)
        return chain.from_iterable(map(repeat, ids, map(workers.free.__getitem__, ids)))
    names = list[str]()
    free = [(slots, name) for name, slots in workers.free.items() if slots > 0]
    if placement == "pack":
        for slots, name in sorted(free):
            names += [name] * slots
        return iter(names[:wanted])
    free.sort(key=lambda each: (-each[0], each[1]))
    level = _level([slots for slots, _ in free], wanted)
    for slots, name in free:
        names += [name] * max(0, slots - level)
    # what one slot of each too many would bring: the first of those that come down to the level
    for slots, name in free:
        if len(names) == wanted:
            break
        if slots >= level:
            names.append(name)
    return iter(names)


def _level(slots: Sequence[int], wanted: int) -> int:
    """The least number of free slots such that bringing all with more down to it takes no more than ``wanted``."""
    taken, level = 0, slots[0]
    for number, each in enumerate(slots, 1):
        below = slots[number] if number < len(slots) else 0
        step = min(each - below, (wanted - taken) // number)
        level, taken = each - step, taken + step * number
        if step < each - below:
            break
    return level
