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

_Ends = Mapping[str, Sequence[tuple[float, Resources]]]


def patience_s(group: Group, reserve_after_s: float) -> float:
    """How long the group's eldest task waits before it has waited too long: the longer, the longer it takes a machine.

    As long as it says it takes, but no longer than ``reserve_after_s`` and no less than half of it.
    """
    return max(reserve_after_s / 2, min(reserve_after_s, group.resources.walltime_s or 0.0))


def reserve(
    groups: Iterable[Group],
    where: Callable[[Group], Iterable[Room]],
    running: Sequence[RunningTask],
    earlier: Sequence[Reservation],
    now_s: float,
) -> tuple[Reservation, ...]:
    """Keep room for the first of the groups' eldest tasks that finds none; none where all find some.

    ``groups`` have waited too long, the oldest first; ``where`` tells the machines that may do. The rooms are kept.
    """
    for group in groups:
        asked = group.resources
        nodes = asked.nodes if group.anywhere is not None else 1
        rooms = [room for room in where(group) if room.can_ever(asked) and not room.view.queueing]
        if len(rooms) < nodes or sum([room.most(asked, 1, now_s) for room in rooms]) >= nodes:
            continue
        ends = _ends(running)
        kept_before = {each.machine for each in earlier if each.task == group.tasks[0]}
        openings = sorted(
            [_opening(room, asked, ends, now_s, room.view.name in kept_before) for room in rooms],
            key=lambda each: each.rank,
        )[:nodes]
        from_s = max(each.from_s for each in openings)
        known_s = None if from_s == math.inf else from_s
        until_s = now_s if known_s is None else known_s  # where no end is known, nothing ends in time
        for each in openings:
            each.room.keep(Kept(group.tasks[0], until_s, _beside(each.room, asked, ends, from_s)))
        return tuple(Reservation(group.tasks[0], each.room.view.name, known_s) for each in openings)
    return ()


@dataclass(frozen=True, slots=True)
class _Opening:
    """When a machine will have room; the first in order of ``rank`` is the best."""

    room: Room
    from_s: float
    rank: tuple[float, bool, float, str]


def _opening(room: Room, asked: Resources, ends: _Ends, now_s: float, was_kept: bool) -> _Opening:
    """When the task will fit on the machine, infinite where that is not known."""
    left = list(room.left)
    missing = deficit = _missing(left, asked)
    from_s = now_s if not missing else math.inf
    for ends_s, holds in ends.get(room.view.name, ()):
        if not missing or ends_s == math.inf:
            break
        _give_back(left, holds)
        missing = _missing(left, asked)
        if not missing:
            from_s = max(now_s, ends_s)
    if room.jobs < 1:
        from_s = math.inf
    return _Opening(room, from_s, (from_s, not was_kept, deficit, room.view.name))


def _missing(left: Sequence[int], asked: Resources) -> float:
    """How much of what the task asks is not there, as a part of it."""
    wanted = (asked.cpus, asked.memory_bytes, asked.gpus)
    return sum([max(0, each - there) / each for each, there in zip(wanted, left, strict=True) if each])


def _beside(room: Room, asked: Resources, ends: _Ends, from_s: float) -> tuple[int, int, int]:
    """What is left beside the task from the moment at which it starts."""
    if from_s == math.inf:
        return 0, 0, 0
    left = list(room.left)
    for ends_s, holds in ends.get(room.view.name, ()):
        if ends_s <= from_s:
            _give_back(left, holds)
    return left[0] - asked.cpus, left[1] - asked.memory_bytes, left[2] - asked.gpus


def _give_back(left: list[int], holds: Resources) -> None:
    for kind, amount in enumerate((holds.cpus, holds.memory_bytes, holds.gpus)):
        left[kind] += amount


def _ends(running: Sequence[RunningTask]) -> _Ends:
    """By machine, when what runs there is expected to end, the first first, and what it holds."""
    found = dict[str, list[tuple[float, Resources]]]()
    for task in sorted(running, key=lambda each: each.task):
        ends_s = math.inf if task.expected_end_s is None else task.expected_end_s
        found.setdefault(task.machine or "", []).append((ends_s, task.resources))
    for each in found.values():
        each.sort(key=lambda end: end[0])
    return found
