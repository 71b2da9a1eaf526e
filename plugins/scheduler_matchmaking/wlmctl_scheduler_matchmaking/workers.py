"""Workers in classes: those with the same types, labels and machines are one to a flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from wlmctl.scheduler import WorkerView
from wlmctl_scheduler_matchmaking.flow import bits


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

    def __init__(self, workers: Iterable[WorkerView]) -> None:
        found = dict[tuple[frozenset[str], frozenset[str], frozenset[str]], list[WorkerView]]()
        for worker in workers:
            key = worker.types, worker.labels, worker.machines
            members = found.get(key)
            if members is None:
                found[key] = [worker]
            else:
                members.append(worker)
        classes = [
            WorkerClass(
                *key,
                members,
                sum([worker.free_slots if worker.free_slots > 0 else 0 for worker in members]),
                min([worker.id for worker in members]),
            )
            for key, members in found.items()
        ]
        # whatever the order in which the workers came
        self.classes: Sequence[WorkerClass] = sorted(classes, key=lambda each: each.first)
        self.slots = sum(found.slots for found in classes)
        self._members: dict[int, tuple[int, ...]] = {}
        self._totals: dict[int, tuple[int, int]] = {}
        self._doing: dict[str, int] = {}
        for number, each in enumerate(self.classes):
            for task_type in each.types:
                self._doing[task_type] = self._doing.get(task_type, 0) | 1 << number
        self._known: dict[tuple[str, str], int] = {}
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

    def members(self, mask: int) -> tuple[int, ...]:
        """The numbers of a set of classes."""
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
            found = [self.classes[number] for number in self.members(mask)]
            totals = sum([each.slots for each in found]), sum([len(each.workers) for each in found])
            self._totals[mask] = totals
        return totals

    def _with(self, kind: str, name: str, has: Callable[[WorkerClass], frozenset[str]]) -> int:
        mask = self._known.get((kind, name))
        if mask is None:
            mask = sum([1 << number for number, each in enumerate(self.classes) if name in has(each)])
            self._known[kind, name] = mask
        return mask
