"""A machine is kept for the oldest task that finds no room, so that small ones cannot pass it by for ever.

Where the ends of what runs are known, it is kept from the moment at which there will be room, and what ends before, or
fits beside, may start meanwhile (backfilling); none of it delays the task. Where they are not known the machine is
drained: nothing more starts there until the task fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from wlmctl.scheduler import Group, Reservation, RunningTask
from wlmctl.task import Resources
from wlmctl_scheduler_matchmaking.rooms import Kept, Room


def reserve(
    groups: Iterable[Group],
    where: Callable[[Group], Iterable[str]],
    rooms: Mapping[str, Room],
    running: Sequence[RunningTask],
    earlier: Sequence[Reservation],
    now_s: float,
) -> tuple[Reservation, ...]:
    """Keep room for the first of the groups' eldest tasks that finds none; none where all find some.

    ``groups`` have waited too long, the oldest first; ``where`` tells the machines that may do. The rooms are kept.
    """
    for group in groups:
        nodes = group.resources.nodes if group.anywhere is not None else 1
        names = [name for name in where(group) if not rooms[name].view.queueing]
        if len(names) < nodes or not group.resources.cpus:
            continue
        if sum(rooms[name].most(group.resources, 1, now_s) for name in names) >= nodes:
            continue
        kept_before = {each.machine for each in earlier if each.task == group.tasks[0]}
        openings = sorted(
            (_opening(rooms[name], group, running, now_s, name in kept_before) for name in names),
            key=lambda each: each.rank,
        )[:nodes]
        from_s = max(each.from_s for each in openings)
        for each in openings:
            rooms[each.name].keep(
                Kept(group.tasks[0], from_s, _beside(rooms[each.name], group.resources, running, from_s))
            )
        return tuple(Reservation(group.tasks[0], each.name, from_s) for each in openings)
    return ()


@dataclass(frozen=True, slots=True)
class _Opening:
    """When a machine will have room; the first in order of ``rank`` is the best."""

    name: str
    from_s: float
    rank: tuple[float, bool, float, str]


def _opening(room: Room, group: Group, running: Sequence[RunningTask], now_s: float, was_kept: bool) -> _Opening:
    """When the task will fit on the machine, infinite where that is not known."""
    asked, left = group.resources, list(room.left)
    missing = _missing(left, asked)
    from_s = now_s if not missing else math.inf
    for ends_s, holds in _ends(room.view.name, running):
        if not missing or ends_s == math.inf:
            break
        for kind, amount in enumerate((holds.cpus, holds.memory_bytes, holds.gpus)):
            left[kind] += amount
        missing = _missing(left, asked)
        if not missing:
            from_s = max(now_s, ends_s)
    if room.jobs < 1:
        from_s = math.inf
    return _Opening(room.view.name, from_s, (from_s, not was_kept, _missing(room.left, asked), room.view.name))


def _missing(left: Sequence[int], asked: Resources) -> float:
    """How much of what the task asks is not there, as a part of it."""
    wanted = (asked.cpus, asked.memory_bytes, asked.gpus)
    return sum(max(0, each - there) / each for each, there in zip(wanted, left, strict=True) if each)


def _beside(room: Room, asked: Resources, running: Sequence[RunningTask], from_s: float) -> tuple[int, int, int]:
    """What is left beside the task from the moment at which it starts."""
    if from_s == math.inf:
        return 0, 0, 0
    left = list(room.left)
    for ends_s, holds in _ends(room.view.name, running):
        if ends_s <= from_s:
            for kind, amount in enumerate((holds.cpus, holds.memory_bytes, holds.gpus)):
                left[kind] += amount
    cpus, memory, gpus = left
    return cpus - asked.cpus, memory - asked.memory_bytes, gpus - asked.gpus


def _ends(machine: str, running: Sequence[RunningTask]) -> list[tuple[float, Resources]]:
    """When what runs on the machine is expected to end, the first first."""
    found = [
        (math.inf if task.expected_end_s is None else task.expected_end_s, task.task, task.resources)
        for task in running
        if task.machine == machine
    ]
    return [(ends_s, holds) for ends_s, _, holds in sorted(found, key=lambda each: each[:2])]
