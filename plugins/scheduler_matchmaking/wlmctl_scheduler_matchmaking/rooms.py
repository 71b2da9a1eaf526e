"""What is left of machines, counters and experiments' caps while tasks are placed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wlmctl.scheduler import Group, MachineView, Reason, Snapshot
from wlmctl.task import Resources

#: As good as no limit.
PLENTY = 1 << 62

#: What counts as left over, for each kind, of a machine where a task has to queue.
QUEUED = 2.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A machine is kept for a task: others may start that end in time, or fit beside it (``beside``: for how many)."""

    task: str
    until_s: float
    beside: tuple[int, int, int]


class Room:
    """What is left of one machine."""

    __slots__ = ("_beside", "_taken", "jobs", "kept", "left", "view", "whole")

    def __init__(self, view: MachineView, taken: list[Room]) -> None:
        #: Of which machines something was taken, one after the other: all that are new write into one list.
        self.view, self._taken = view, taken
        #: Cpus, bytes of memory and gpus of the empty machine, or of its largest node.
        self.whole = (_amount(view.cpus), _amount(view.memory_bytes), _amount(view.gpus))
        free = (_amount(view.free_cpus), _amount(view.free_memory_bytes), _amount(view.free_gpus))
        #: What of it is free; a batch system queues what does not fit now.
        self.left = [PLENTY] * 3 if view.queueing else list(free)
        self.jobs = _amount(view.jobs_left)
        self.kept: Kept | None = None
        self._beside = [PLENTY] * 3

    def keep(self, kept: Kept) -> None:
        """From now on the machine is kept for a task."""
        self.kept, self._beside = kept, list(kept.beside)

    def left_over(self, asked: Resources) -> float:
        """What one such task would leave of the machine: the sum over cpus and memory, 1 for all of one kind.

        Gpus do not count: where they are packed, cpus are stranded. Where the task would wait in a batch system's
        queue, it is as much as anything can leave.
        """
        found = 0.0
        for free, whole, each in (
            (self.view.free_cpus if self.view.queueing else self.left[0], self.view.cpus, asked.cpus),
            (
                self.view.free_memory_bytes if self.view.queueing else self.left[1],
                self.view.memory_bytes,
                asked.memory_bytes,
            ),
        ):
            if free is not None and whole:
                found += (free - each) / whole if free >= each else QUEUED
        return found

    def can_ever(self, asked: Resources) -> bool:
        """Whether one such task fits on the empty machine."""
        cpus, memory, gpus = self.whole
        return not asked.cpus or (asked.cpus <= cpus and asked.memory_bytes <= memory and asked.gpus <= gpus)

    def at_once(self, asked: Resources) -> int:
        """How many such tasks the empty machine has room for: one at least; what it has not reported is for one."""
        if self.view.queueing:
            return PLENTY
        pairs = zip(self.whole, (asked.cpus, asked.memory_bytes, asked.gpus), strict=True)
        return max(1, min((whole // each if whole < PLENTY else 1 for whole, each in pairs if each), default=PLENTY))

    def most(self, asked: Resources, wanted: int, now_s: float) -> int:
        """How many of ``wanted`` such tasks may start now."""
        if not asked.cpus:
            return wanted  # a step that is no job takes nothing of the machine
        if not self.can_ever(asked):
            return 0
        most = min(wanted, self.jobs, _times(self.left, asked))
        if self.kept is not None and not self._ends_in_time(asked, now_s):
            most = min(most, _times(self._beside, asked))
        return most

    def take(self, asked: Resources, tasks: int, now_s: float) -> None:
        """So many such tasks start."""
        if not asked.cpus:
            return
        self._taken.append(self)
        wanted = (asked.cpus, asked.memory_bytes, asked.gpus)
        for kind, each in enumerate(wanted):
            self.left[kind] -= each * tasks
        self.jobs -= tasks
        if self.kept is not None and not self._ends_in_time(asked, now_s):
            for kind, each in enumerate(wanted):
                self._beside[kind] -= each * tasks

    def _ends_in_time(self, asked: Resources, now_s: float) -> bool:
        return self.kept is None or (asked.walltime_s is not None and now_s + asked.walltime_s <= self.kept.until_s)


class Rooms(Mapping[str, Room]):
    """The rooms of all machines by name, made when they are asked for: many decisions look at few of thousands."""

    def __init__(self, views: Mapping[str, MachineView]) -> None:
        self._views = views
        #: Those that have been asked for; what was taken was taken from one of them.
        self.made = dict[str, Room]()
        #: Of which machines something was taken, one after the other.
        self.taken = list[Room]()

    def __getitem__(self, name: str) -> Room:
        room = self.made.get(name)
        if room is None:
            room = self.made[name] = Room(self._views[name], self.taken)
        return room

    def __contains__(self, name: object) -> bool:
        return name in self._views

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)


def _amount(count: int | None) -> int:
    return PLENTY if count is None else count


def _times(left: list[int], asked: Resources) -> int:
    most = max(0, left[0]) // asked.cpus
    if asked.memory_bytes:
        most = min(most, max(0, left[1]) // asked.memory_bytes)
    if asked.gpus:
        most = min(most, max(0, left[2]) // asked.gpus)
    return most


class Caps:
    """How many more tasks the experiments may start, and what is left of the counters that all machines share."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._experiments: dict[str, int] = {}
        for group in snapshot.groups:
            if group.may_start is not None:
                left = min(self._experiments.get(group.experiment, PLENTY), max(0, group.may_start))
                self._experiments[group.experiment] = left
        self._counters: Mapping[str, int] = snapshot.counters
        self._taken: dict[str, int] = {}

    def most(self, group: Group, wanted: int) -> tuple[int, Reason | None]:
        """How many of ``wanted`` tasks of the group may start, and why no more, if not all."""
        most, short = min(wanted, self.left(group.experiment)), None
        for name, each in group.counters:
            left = self._counters.get(name, 0) - self._taken.get(name, 0)
            if each > 0 and max(0, left) // each < most:
                most, short = max(0, left) // each, (name, each, max(0, left))
        if short is not None:
            name, each, left = short  # less what those of the group take that may start
            text = f"it takes {each} of the counter {name}, of which {left - most * each} are left"
            return most, Reason("counter", text)
        return most, Reason("max_running", "the experiment's max_running is reached") if most < wanted else None

    def left(self, experiment: str) -> int:
        """How many more tasks of the experiment may start."""
        return self._experiments.get(experiment, PLENTY)

    def take(self, group: Group, tasks: int) -> None:
        """So many tasks of the group start."""
        if group.experiment in self._experiments:
            self._experiments[group.experiment] -= tasks
        for name, each in group.counters:
            self._taken[name] = self._taken.get(name, 0) + each * tasks


def binds_nothing(snapshot: Snapshot, rooms: Mapping[str, Room], slots: int) -> bool:
    """Whether no limit but the workers' slots can stop a task: then the flow alone decides."""
    caps = dict[str, int]()
    asked = dict[str, list[int]]()
    for group in snapshot.groups:
        if group.unbound is not None or group.anywhere is not None or group.counters:
            return False
        if group.may_start is not None and group.may_start < slots:
            caps[group.experiment] = min(caps.get(group.experiment, slots), group.may_start)
        if group.machine in rooms and group.resources.cpus:
            sums = asked.setdefault(group.machine or "", [0, 0, 0, 0])
            for kind, each in enumerate((group.resources.cpus, group.resources.memory_bytes, group.resources.gpus, 1)):
                sums[kind] += each * len(group.tasks)
    if caps:
        ready = Counter[str]()
        for group in snapshot.groups:
            ready[group.experiment] += len(group.tasks)
        if any(most < ready[experiment] for experiment, most in caps.items()):
            return False
    return all(
        rooms[name].kept is None
        and all(there >= sum_ for there, sum_ in zip((*rooms[name].left, rooms[name].jobs), sums, strict=True))
        for name, sums in asked.items()
    )
