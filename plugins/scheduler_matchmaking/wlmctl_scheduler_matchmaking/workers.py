"""Workers in classes: those with the same types, labels and machines are one to a flow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from wlmctl.scheduler import Group, WorkerView
from wlmctl_scheduler_matchmaking.flow import bits


@dataclass(slots=True)
class WorkerClass:
    """Workers that can do the same: ``free`` is how many slots each has free, by its id, and ``slots`` what all have;
    ``first`` is the least of their ids.
    """

    types: frozenset[str]
    labels: frozenset[str]
    machines: frozenset[str]
    free: dict[str, int]
    slots: int
    first: str


class Fleet:
    """All live workers, by class; sets of classes are bits of integers, in the order of ``classes``."""

    def __init__(self, workers: Sequence[WorkerView]) -> None:
        found = defaultdict[tuple[frozenset[str], frozenset[str], frozenset[str]], dict[str, int]](dict)
        for worker in workers:  # each is looked at once: when there are ten thousand, most of the time goes to memory
            found[worker.types, worker.labels, worker.machines][worker.id] = worker.free_slots
        classes = [
            WorkerClass(*key, free, sum([slots for slots in free.values() if slots > 0]), min(free))
            for key, free in found.items()
        ]
        # whatever the order in which the workers came
        self.classes: Sequence[WorkerClass] = sorted(classes, key=attrgetter("first"))
        self._slots = [each.slots for each in self.classes]
        self._sizes = [len(each.free) for each in self.classes]
        self.slots = sum(self._slots)
        #: By type of task, the classes that do it.
        self.doing: dict[str, int] = {}
        self._members: dict[int, Sequence[int]] = {}
        doing = defaultdict[str, list[int]](list)
        for number, each in enumerate(self.classes):
            for task_type in each.types:
                doing[task_type].append(number)
        powers = [1 << number for number in range(len(self.classes))]
        for task_type, numbers in doing.items():
            mask = self.doing[task_type] = sum(map(powers.__getitem__, numbers))
            self._members[mask] = numbers
        self._totals: dict[int, tuple[int, int]] = {}
        self._known: dict[tuple[str, str], int] = {}
        #: By group that was looked at, the classes that can do it.
        self.of_groups: dict[str, int] = {}
        self._able: dict[tuple[str, tuple[str, ...], tuple[str, ...]], int] = {}

    def able(self, task_type: str, labels: tuple[str, ...], machines: tuple[str, ...]) -> int:
        """The classes that can do tasks of the type, with the labels, and reach the machines."""
        key = task_type, labels, machines
        mask = self._able.get(key)
        if mask is None:
            mask = self.doing.get(task_type, 0)
            for label in labels:
                mask &= self._with("label", label, lambda each: each.labels)
            for machine in machines:
                mask &= self._with("machine", machine, lambda each: each.machines)
            self._able[key] = mask
        return mask

    def look_at(self, groups: Iterable[Group]) -> None:
        """Note of each group which classes can do its tasks, where they are."""
        known, found = self._able, self.of_groups
        for group in groups:
            key = group.type, group.worker_labels, group.touches
            mask = known.get(key)
            found[group.id] = self.able(*key) if mask is None else mask

    def members(self, mask: int) -> Sequence[int]:
        """The numbers of a set of classes, in their order."""
        found = self._members.get(mask)
        if found is None:
            found = self._members[mask] = tuple(bits(mask))
        return found

    def slots_of(self, mask: int) -> int:
        """The free slots of a set of classes."""
        return self._totals_of(mask)[0]

    def count(self, mask: int) -> int:
        """The workers of a set of classes."""
        return self._totals_of(mask)[1]

    def _totals_of(self, mask: int) -> tuple[int, int]:
        totals = self._totals.get(mask)
        if totals is None:
            members = self.members(mask)
            totals = sum(map(self._slots.__getitem__, members)), sum(map(self._sizes.__getitem__, members))
            self._totals[mask] = totals
        return totals

    def _with(self, kind: str, name: str, has: Callable[[WorkerClass], frozenset[str]]) -> int:
        mask = self._known.get((kind, name))
        if mask is None:
            mask = sum([1 << number for number, each in enumerate(self.classes) if name in has(each)])
            self._known[kind, name] = mask
        return mask
