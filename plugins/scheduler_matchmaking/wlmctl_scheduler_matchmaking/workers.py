"""Workers in classes: those with the same types, labels and machines are one to a flow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from wlmctl.scheduler import Group, WorkerView
from wlmctl_scheduler_matchmaking.flow import bits

_ABILITIES = attrgetter("types", "labels", "machines")


@dataclass(slots=True)
class WorkerClass:
    """Workers that can do the same: ``slots`` is what all of them have free, ``first`` the least of their ids."""

    types: frozenset[str]
    labels: frozenset[str]
    machines: frozenset[str]
    workers: list[WorkerView]
    slots: int
    first: str


class Fleet:
    """All live workers, by class; sets of classes are bits of integers, in the order of ``classes``."""

    def __init__(self, workers: Sequence[WorkerView]) -> None:
        found = defaultdict[tuple[frozenset[str], frozenset[str], frozenset[str]], list[WorkerView]](list)
        for key, worker in zip(map(_ABILITIES, workers), workers, strict=True):
            found[key].append(worker)
        classes = [
            WorkerClass(
                *key,
                members,
                sum([slots for slots in map(attrgetter("free_slots"), members) if slots > 0]),
                min(map(attrgetter("id"), members)),
            )
            for key, members in found.items()
        ]
        # whatever the order in which the workers came
        self.classes: Sequence[WorkerClass] = sorted(classes, key=attrgetter("first"))
        self._slots = [each.slots for each in self.classes]
        self._sizes = [len(each.workers) for each in self.classes]
        self.slots = sum(self._slots)
        self._doing: dict[str, int] = {}
        self._members: dict[int, Sequence[int]] = {}
        doing = defaultdict[str, list[int]](list)
        for number, each in enumerate(self.classes):
            for task_type in each.types:
                doing[task_type].append(number)
        powers = [1 << number for number in range(len(self.classes))]
        for task_type, numbers in doing.items():
            mask = self._doing[task_type] = sum([powers[number] for number in numbers])
            self._members[mask] = numbers
        self._totals: dict[int, tuple[int, int]] = {}
        self._known: dict[tuple[str, str], int] = {}
        self._of_groups: dict[str, int] = {}
        self._able: dict[tuple[str, tuple[str, ...], tuple[str, ...]], int] = {}

    def able(self, task_type: str, labels: tuple[str, ...], machines: tuple[str, ...]) -> int:
        """The classes that can do tasks of the type, with the labels, and reach the machines."""
        key = task_type, labels, machines
        mask = self._able.get(key)
        if mask is None:
            mask = self._doing.get(task_type, 0)
            for label in labels:
                mask &= self._with("label", label, lambda each: each.labels)
            for machine in machines:
                mask &= self._with("machine", machine, lambda each: each.machines)
            self._able[key] = mask
        return mask

    def able_of(self, group: Group) -> int:
        """The classes that can do the group's tasks, where they are."""
        mask = self._of_groups.get(group.id)
        if mask is None:
            mask = self._of_groups[group.id] = self.able(group.type, group.worker_labels, group.touches)
        return mask

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
            members, slots, sizes = self.members(mask), self._slots, self._sizes
            totals = sum([slots[number] for number in members]), sum([sizes[number] for number in members])
            self._totals[mask] = totals
        return totals

    def _with(self, kind: str, name: str, has: Callable[[WorkerClass], frozenset[str]]) -> int:
        mask = self._known.get((kind, name))
        if mask is None:
            mask = sum([1 << number for number, each in enumerate(self.classes) if name in has(each)])
            self._known[kind, name] = mask
        return mask
