"""Where tasks with machines of their own go when there are many of them, so that most find a place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wlmctl.scheduler import Group
from wlmctl_scheduler_matchmaking.filling import Amounts, Shape
from wlmctl_scheduler_matchmaking.machines import Machines
from wlmctl_scheduler_matchmaking.patterns import packed
from wlmctl_scheduler_matchmaking.rooms import PLENTY, Room

#: Of so many shapes of nodes and kinds of tasks, those that are most, it is decided together; the rest is left to the
#: greedy that follows.
_SHAPES = 64
_KINDS = 200


class Packing:
    """For groups of one band, the machines that their next tasks go to; equal tasks of all groups share them."""

    def __init__(self, groups: Iterable[Group], machines: Machines) -> None:
        kinds = dict[object, list[Group]]()
        for group in groups:
            if is_packable(group):
                kinds.setdefault(_kind(group), []).append(group)
        most = sorted(kinds, key=lambda kind: -sum(len(group.tasks) for group in kinds[kind]))[:_KINDS]
        found = [kinds[kind] for kind in most]
        asked = [_asked(members[0]) for members in found]
        self._spots = dict[object, Iterator[tuple[Room, int]]]()
        self._begun = dict[object, tuple[Room, int]]()
        shapes = _shapes([machines.for_each(members[0]).values() for members in found], asked)
        spots: list[list[tuple[Room, int]]] = [[] for _ in most]
        if not shapes:
            return
        answer = packed(
            [shape for shape, _ in shapes], asked, [sum(len(group.tasks) for group in each) for each in found]
        )
        for (_, rooms), patterns in zip(shapes, answer, strict=True):
            free = iter(rooms)
            for pattern, times in patterns:
                for _ in range(times):
                    room = next(free)
                    for kind, tasks in pattern.items():
                        spots[kind].append((room, tasks))
        self._spots = {kind: iter(where) for kind, where in zip(most, spots, strict=True)}

    def has(self, group: Group) -> bool:
        """Whether anything is said of the group."""
        return _kind(group) in self._spots

    def take(self, group: Group, wanted: int) -> Iterator[tuple[Room, int]]:
        """Machines for at most so many more tasks of the group, and how many go to each."""
        kind = _kind(group)
        while wanted:
            room_and_left = self._begun.pop(kind, None) or next(self._spots[kind], None)
            if room_and_left is None:
                return
            room, left = room_and_left
            part = min(left, wanted)
            if part < left:
                self._begun[kind] = room, left - part
            wanted -= part
            yield room, part


def is_packable(group: Group) -> bool:
    """Whether each task takes one machine of its own, and nothing but machines and slots can stop it."""
    asked = group.resources
    is_free = group.anywhere is not None and group.may_start is None and not group.counters
    return is_free and asked.nodes == 1 and asked.cpus > 0


def _kind(group: Group) -> object:
    return _asked(group), group.anywhere, group.type, group.worker_labels


def _asked(group: Group) -> Amounts:
    return group.resources.cpus, group.resources.memory_bytes, group.resources.gpus


def _shapes(where: list[Iterable[Room]], asked: list[Amounts]) -> list[tuple[Shape, list[Room]]]:
    """The machines by what is free of them and which kinds (by their machines) may run there."""
    permitted = dict[str, list[int]]()
    rooms = dict[str, Room]()
    for kind, found in enumerate(where):
        for room in found:
            permitted.setdefault(room.view.name, []).append(kind)
            rooms[room.view.name] = room
    largest = [max((each[row] for each in asked), default=0) for row in range(3)]
    by_shape = dict[tuple[Amounts, tuple[int, ...]], list[Room]]()
    for name in sorted(rooms):
        room = rooms[name]
        cpus, memory, gpus = room.left
        if 0 < cpus < PLENTY and room.kept is None and room.jobs == PLENTY and not room.view.queueing:
            # tasks take one cpu at least: more than this of anything else is of no use
            free = cpus, max(0, min(memory, cpus * largest[1])), max(0, min(gpus, cpus * largest[2]))
            by_shape.setdefault((free, tuple(permitted[name])), []).append(room)
    most = sorted(by_shape.items(), key=lambda each: (-len(each[1]), each[0]))[:_SHAPES]
    return [(Shape(free, len(members), kinds), members) for (free, kinds), members in most]
