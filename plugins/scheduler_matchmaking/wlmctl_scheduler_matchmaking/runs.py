"""The tasks that start, in the order in which that was decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat

from wlmctl.scheduler import Group

#: Tasks of a group that start: the first of them, how many, their demand class, their machine, and more where each
#: takes several.
Run = tuple[Group, int, int, int, str | None, tuple[str, ...]]


class Runs:
    """Runs in columns: a hundred thousand tuples would be looked through by every collection of garbage."""

    def __init__(self) -> None:
        self._parts = list[_Columns | _Own]()
        #: How many tasks start.
        self.tasks = 0

    def __iter__(self) -> Iterator[Run]:
        return chain.from_iterable(self._parts)

    def add(self, run: Run) -> None:
        """One more."""
        group, first, count, demand, machine, more = run
        last = self._last()
        last.groups.append(group)
        last.firsts.append(first)
        last.counts.append(count)
        last.demands.append(demand)
        last.machines.append(machine)
        last.more.append(more)
        self.tasks += count

    def add_each(
        self, groups: Sequence[Group], firsts: Sequence[int], demands: Sequence[int], machines: Sequence[str]
    ) -> None:
        """One task of each of these groups, on its machine."""
        last = self._last()
        last.groups += groups
        last.firsts += firsts
        last.counts += repeat(1, len(groups))
        last.demands += demands
        last.machines += machines
        last.more += repeat((), len(groups))
        self.tasks += len(groups)

    def add_own(self, group: Group, numbers: Sequence[int], demands: Sequence[int], machines: Sequence[str]) -> None:
        """These tasks of a group, each on a machine of its own."""
        self._parts.append(_Own(group, numbers, demands, machines))
        self.tasks += len(numbers)

    def _last(self) -> _Columns:
        if not self._parts or not isinstance(self._parts[-1], _Columns):
            self._parts.append(_Columns())
        last = self._parts[-1]
        assert isinstance(last, _Columns)
        return last


@dataclass(slots=True)
class _Columns:
    """Any runs."""

    groups: list[Group] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    demands: list[int] = field(default_factory=list)
    machines: list[str | None] = field(default_factory=list)
    more: list[tuple[str, ...]] = field(default_factory=list)

    def __iter__(self) -> Iterator[Run]:
        return zip(self.groups, self.firsts, self.counts, self.demands, self.machines, self.more, strict=True)


@dataclass(slots=True)
class _Own:
    """Runs of one task each, of one group."""

    group: Group
    numbers: Sequence[int]
    demands: Sequence[int]
    machines: Sequence[str]

    def __iter__(self) -> Iterator[Run]:
        return zip(repeat(self.group), self.numbers, repeat(1), self.demands, self.machines, repeat(()), strict=False)
