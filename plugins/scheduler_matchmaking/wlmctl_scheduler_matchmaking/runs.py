"""The tasks that start, in the order in which that was decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat

from wlmctl.scheduler import Group

#: Tasks of a group that start: the first of them, how many, their demand class, their machine, and more where each
#: takes several.
Run = tuple[Group, int, int, int, str | None, tuple[str, ...]]


class Runs:
    """Runs in columns: a hundred thousand tuples would be looked through by every collection of garbage."""

    def __init__(self) -> None:
        self._groups, self._firsts, self._counts = list[Group](), list[int](), list[int]()
        self._demands, self._machines, self._more = list[int](), list[str | None](), list[tuple[str, ...]]()

    @property
    def tasks(self) -> int:
        """How many tasks start."""
        return sum(self._counts)

    def __iter__(self) -> Iterator[Run]:
        return zip(self._groups, self._firsts, self._counts, self._demands, self._machines, self._more, strict=True)

    def add(self, run: Run) -> None:
        """One more."""
        group, first, count, demand, machine, more = run
        self._groups.append(group)
        self._firsts.append(first)
        self._counts.append(count)
        self._demands.append(demand)
        self._machines.append(machine)
        self._more.append(more)

    def add_each(
        self, groups: Sequence[Group], firsts: Sequence[int], demands: Sequence[int], machines: Sequence[str]
    ) -> None:
        """One task of each of these groups, on its machine."""
        self._groups += groups
        self._firsts += firsts
        self._counts += repeat(1, len(groups))
        self._demands += demands
        self._machines += machines
        self._more += repeat((), len(groups))
