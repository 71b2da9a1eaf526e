"""The machines of a decision in columns, for those who look at thousands of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING

from wlmctl.machine import Requirement
from wlmctl.scheduler import MachineView, RoleNeed
from wlmctl.task import Resources
from wlmctl_scheduler_matchmaking.rooms import PLENTY, QUEUED, Rooms
from wlmctl_scheduler_matchmaking.workers import Fleet

if TYPE_CHECKING:
    from wlmctl_scheduler_matchmaking.counting import Bools, Numbers

_WHOLE = ("cpus", "memory_bytes", "gpus")
_FREE = ("free_cpus", "free_memory_bytes", "free_gpus")


class Sites:
    """Machines by number, in the order of their names. What is said of one is what its ``Room`` says."""

    def __init__(
        self, views: Sequence[MachineView], prices: Sequence[float], rooms: Rooms, fleet: Fleet, sign: int
    ) -> None:
        import numpy as np

        self._views, self._rooms, self._fleet, self._sign = views, rooms, fleet, sign
        self._prices = np.array(prices)
        self.names: Sequence[str] = [view.name for view in views]
        self._is_held = np.array([view.held for view in views], bool)
        self._is_queueing = np.array([view.queueing for view in views], bool)
        self._whole, self._free = ([_amounts(views, name) for name in names] for names in (_WHOLE, _FREE))
        self._jobs = _amounts(views, "jobs_left")

    @cached_property
    def number(self) -> Mapping[str, int]:
        """The number of each machine, by its name."""
        return {name: number for number, name in enumerate(self.names)}

    @cached_property
    def reach(self) -> tuple[Numbers, Sequence[int]]:
        """Of each machine the number of what reaches it, and what these are: sets of worker classes."""
        import numpy as np

        by_machines = dict[frozenset[str], int]()
        for number, each in enumerate(self._fleet.classes):
            by_machines[each.machines] = by_machines.get(each.machines, 0) | 1 << number
        masks = [0] * len(self.names)
        for names, mask in by_machines.items():
            for name in names:
                if (at := self.number.get(name)) is not None:
                    masks[at] |= mask
        found = dict[int, int]()
        of_site = np.array([found.setdefault(mask, len(found)) for mask in masks], np.int64)
        return of_site, [*found]

    def able(self, task_type: str, labels: tuple[str, ...]) -> Sequence[int]:
        """For each number of ``reach``, the worker classes that can do tasks of the type, with the labels, there."""
        able = self._fleet.able(task_type, labels, ())
        return [able & mask for mask in self.reach[1]]

    def suiting(self, requires: Requirement, needs: Iterable[RoleNeed], barred: Iterable[str]) -> Bools:
        """Which machines are not held and meet the requirement, and can do all that is needed."""
        import numpy as np

        found = ~self._is_held
        if requires.labels:
            of_site, labels = self._labels
            wanted = set(requires.labels)
            found &= np.array([wanted.issubset(each) for each in labels], bool)[of_site]
        for asked, whole in zip((requires.cpus, requires.memory_bytes, requires.gpus), self._whole, strict=True):
            if asked is not None:  # what a machine has not reported it has not got
                found &= np.where(whole == PLENTY, 0, whole) >= min(asked, PLENTY)
        for need in needs:
            if need.resources.cpus:
                found &= self._can_ever(need.resources)
            found &= np.array([bool(able) for able in self.able(need.type, need.worker_labels)], bool)[self.reach[0]]
        for name in barred:
            if name in self.number:
                found[self.number[name]] = False
        return found

    @cached_property
    def _labels(self) -> tuple[Numbers, Sequence[tuple[str, ...]]]:
        import numpy as np

        found = dict[tuple[str, ...], int]()
        of_site = np.array([found.setdefault(view.labels, len(found)) for view in self._views], np.int64)
        return of_site, [*found]

    def _can_ever(self, asked: Resources) -> Bools:
        cpus, memory_bytes, gpus = self._whole
        found: Bools = (asked.cpus <= cpus) & (asked.memory_bytes <= memory_bytes) & (asked.gpus <= gpus)
        return found

    def room(self, asked: Resources, most: int) -> tuple[Numbers, Bools]:
        """For how many such tasks, of ``most``, each has room, and which machines are kept for a task."""
        import numpy as np

        *left, jobs = self._left
        takes = np.minimum(np.maximum(jobs, 0), most)
        for each, there in zip((asked.cpus, asked.memory_bytes, asked.gpus), left, strict=True):
            if each:
                takes = np.minimum(takes, np.maximum(there, 0) // each)
        is_kept = np.zeros(len(self.names), bool)
        for name, room in self._rooms.made.items():
            is_kept[self.number[name]] = room.kept is not None
        return np.where(self._can_ever(asked), takes, 0), is_kept

    @property
    def _left(self) -> Sequence[Numbers]:
        """What is left of each machine: cpus, bytes of memory, gpus and jobs."""
        import numpy as np

        left = [*(np.where(self._is_queueing, PLENTY, free) for free in self._free), self._jobs.copy()]
        for name, room in self._rooms.made.items():
            at = self.number[name]
            for column, amount in zip(left, (*room.left, room.jobs), strict=True):
                column[at] = amount
        return left

    def best_first(self, numbers: Numbers, asked: Resources) -> Numbers:
        """These machines, the best for one such task first."""
        import numpy as np

        left_over = np.zeros(len(numbers))
        for each, left, free, whole in zip(
            (asked.cpus, asked.memory_bytes), self._left[:2], self._free[:2], self._whole[:2], strict=True
        ):
            queues = self._is_queueing[numbers]
            there, all_ = np.where(queues, free[numbers], left[numbers]), whole[numbers]
            is_known = (all_ > 0) & (all_ < PLENTY) & ~(queues & (there == PLENTY))
            part = np.where(there >= each, (there - each) / np.maximum(all_, 1), QUEUED)
            left_over += np.where(is_known, part, 0.0)
        rank = self._prices[numbers] + self._sign * left_over
        found: Numbers = numbers[np.lexsort((numbers, rank))]
        return found


def _amounts(views: Sequence[MachineView], name: str) -> Numbers:
    import numpy as np

    amounts = [PLENTY if each is None else each for each in map(attrgetter(name), views)]
    try:
        return np.minimum(np.array(amounts, np.int64), PLENTY)
    except OverflowError:  # more than 64 bits are as good as no limit
        return np.array([min(each, PLENTY) for each in amounts], np.int64)
