"""The assignments of a decision, made when they are asked for: a hundred thousand need not lie in memory at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain, repeat
from operator import attrgetter
from typing import Any, overload

from wlmctl.scheduler import Assignment
from wlmctl_scheduler_matchmaking.flow import Flow, bits
from wlmctl_scheduler_matchmaking.matching import Run
from wlmctl_scheduler_matchmaking.workers import Fleet


class Assigned(Sequence[Assignment]):
    """Assignments in stretches: tasks, their machines, and a worker for each (None: any that can do them)."""

    def __init__(self, stretches: Sequence[_Stretch]) -> None:
        self._stretches = stretches
        self._ends = list(accumulate(len(each.tasks) for each in stretches))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Assignment]:
        for each in self._stretches:
            for task, worker in zip(each.tasks, each.workers or repeat(None), strict=False):
                yield Assignment(task, each.machine, worker, each.more)

    @overload
    def __getitem__(self, index: int) -> Assignment: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Assignment]: ...
    def __getitem__(self, index: int | slice) -> Assignment | Sequence[Assignment]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        number = bisect_right(self._ends, position)
        each = self._stretches[number]
        offset = position - (self._ends[number] - len(each.tasks))
        worker = each.workers[offset] if each.workers is not None else None
        return Assignment(each.tasks[offset], each.machine, worker, each.more)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))


class _Stretch:
    """Tasks of one group on one machine; ``workers`` are as many, or None."""

    __slots__ = ("machine", "more", "tasks", "workers")

    def __init__(
        self, tasks: Sequence[str], machine: str | None, more: tuple[str, ...], workers: Sequence[str] | None
    ) -> None:
        self.tasks, self.machine, self.more, self.workers = tasks, machine, more, workers


def assigned(runs: Sequence[Run], flow: Flow, fleet: Fleet, placement: str | None) -> Assigned:
    """The runs with a worker for each task, as the flow has it.

    Where the able workers cost the same, and no tasks compete for them but such as all of them can do, any will do:
    the core chooses.
    """
    workers = _by_demand(flow, fleet, placement)
    taken, used = dict[str, int](), dict[int, int]()
    stretches = list[_Stretch]()
    for run in runs:
        first = taken.get(run.group.id, 0)
        taken[run.group.id] = first + run.tasks
        names = workers.get(run.demand)
        if names is not None:
            start = used.get(run.demand, 0)
            used[run.demand] = start + run.tasks
            names = names[start : start + run.tasks]
        stretches.append(_Stretch(run.group.tasks[first : first + run.tasks], run.machine, run.more, names))
    return Assigned(stretches)


def _by_demand(flow: Flow, fleet: Fleet, placement: str | None) -> Mapping[int, list[str]]:
    """The workers of each demand class whose workers matter, one for each task that was sent."""
    alone, found = _alone(flow), dict[int, list[str]]()
    for number, held in enumerate(flow.held):
        if not held or alone >> number & 1:
            continue
        names = _slots(fleet, number, sum(held.values()), placement)
        first = 0
        for demand, tasks in sorted(held.items()):
            found.setdefault(demand, []).extend(names[first : first + tasks])
            first += tasks
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


def _slots(fleet: Fleet, number: int, wanted: int, placement: str | None) -> list[str]:
    """So many slots of a class of workers, each by its worker's id."""
    found = fleet.classes[number]
    names = list[str]()
    if wanted == found.slots:
        workers = sorted(found.workers, key=attrgetter("id"))
        return list(
            chain.from_iterable(map(repeat, map(attrgetter("id"), workers), map(attrgetter("free_slots"), workers)))
        )
    free = [(worker.free_slots, worker.id) for worker in found.workers if worker.free_slots > 0]
    if placement == "pack":
        for slots, name in sorted(free):
            names += [name] * slots
        return names[:wanted]
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
    return names


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
