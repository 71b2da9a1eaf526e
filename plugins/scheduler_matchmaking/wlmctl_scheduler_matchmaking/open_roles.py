"""Groups that wait for open roles, in columns: many that are bound at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from wlmctl.scheduler import Group, UnboundRole, UnboundRoles
from wlmctl_scheduler_matchmaking.order import Shares, fair_portions

if TYPE_CHECKING:
    from wlmctl_scheduler_matchmaking.counting import Numbers

#: A rank, a row of ``OpenRoles``, the first that waits of it, and how many.
Portion = tuple[int, int, int, int]


@dataclass(slots=True)
class OpenRoles:
    """Groups, the open role that each waits for, or the class of those that its tasks wait for, the level of its band,
    and which of its tasks may start, by number.
    """

    groups: list[Group] = field(default_factory=list)
    roles: list[UnboundRole | UnboundRoles] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    waiting: list[Sequence[int]] = field(default_factory=list)
    many: int = 0

    def add(self, group: Group, role: UnboundRole | UnboundRoles, level: int, waiting: Sequence[int]) -> None:
        """One more."""
        self.groups.append(group)
        self.roles.append(role)
        self.levels.append(level)
        self.waiting.append(waiting)
        self.many += len(waiting)

    def first(self, most: int) -> OpenRoles:
        """No more than so many of them."""
        if self.many <= most:
            return self
        found = OpenRoles()
        for group, role, level, waiting in zip(self.groups, self.roles, self.levels, self.waiting, strict=True):
            if found.many == most:
                break
            found.add(group, role, level, waiting[: most - found.many])
        return found

    def portions(self, shares: Shares | None, places: int) -> list[Portion]:
        """All of them in the order in which they are served; those of a lower rank go before all of a higher one."""
        found, rank = list[Portion](), 0
        for _, of_band in groupby(range(len(self.groups)), self.levels.__getitem__):
            rows = [*of_band]
            counts = [len(self.waiting[row]) for row in rows]
            groups = [self.groups[row] for row in rows]
            fair = fair_portions(groups, shares, places) if shares is not None else None
            if fair is None:
                found += [(rank, row, 0, count) for row, count in zip(rows, counts, strict=True)]
                rank += 1
                continue
            part, in_order = fair
            row_of = {group.id: (row, count) for group, row, count in zip(groups, rows, counts, strict=True)}
            ordered = [(*row_of[group.id], part[group.id]) for group in in_order]
            found += [(rank, row, 0, min(count, first)) for row, count, first in ordered if first]
            found += [(rank + 1, row, first, count - first) for row, count, first in ordered if first < count]
            rank += 2
        return found


class Served:
    """The roles of portions, in their order: the ``rank`` and the ``row`` of each."""

    def __init__(self, open_: OpenRoles, portions: Sequence[Portion]) -> None:
        import numpy as np

        ranks, rows, _, counts = np.array(portions, np.int64).reshape(-1, 4).T
        self.rank, self.row = np.repeat(ranks, counts), np.repeat(rows, counts)
        ends = np.cumsum(counts)
        #: Those that are alone in their row, and by row the others: where they are and their numbers in the group.
        self.alone: list[tuple[int, int]] = []
        self.classes: list[tuple[int, slice, Numbers]] = []
        for (_, row, first, count), end in zip(portions, ends.tolist(), strict=True):
            if open_.groups[row].own_roles:
                numbers = _array(open_.waiting[row][first : first + count])
                self.classes.append((row, slice(end - count, end), numbers))
            else:
                self.alone.append((row, end - 1))
        self._roles = open_.roles

    def data(self, number: Mapping[str, int]) -> tuple[Numbers, Numbers, Numbers]:
        """Whose data are on which machine, by its ``number`` (-1: it has none), and how many bytes they are."""
        import numpy as np

        counts, there, bytes_ = list[int](), list[int](), list[int]()
        known = defaultdict(lambda: -1, number)
        for row, _ in self.alone:  # each is looked at once: most of the time goes to memory
            role = self._roles[row]
            assert isinstance(role, UnboundRole)
            counts.append(len(role.data_bytes))
            there += map(known.__getitem__, role.data_bytes)
            bytes_ += role.data_bytes.values()
        places = np.array([place for _, place in self.alone], np.int64)
        whose, at, size = [np.repeat(places, counts)], [_array(there)], [_array(bytes_)]
        for row, where, numbers in self.classes:
            alike = self._roles[row]
            assert isinstance(alike, UnboundRoles)
            if len(alike.data.roles):
                place = np.full(len(alike.roles), -1)
                place[numbers] = np.arange(where.start, where.stop)
                mine = place[np.asarray(alike.data.roles, np.int64)]
                is_served = mine >= 0
                machines = np.fromiter(map(known.__getitem__, alike.data.machines), np.int64, len(alike.data.machines))
                whose.append(mine[is_served])
                at.append(machines[np.asarray(alike.data.at, np.int64)[is_served]])
                size.append(np.asarray(alike.data.sizes, np.int64)[is_served])
        return np.concatenate(whose), np.concatenate(at), np.concatenate(size)


def _array(numbers: Sequence[int]) -> Numbers:
    import numpy as np

    return np.arange(numbers.start, numbers.stop) if isinstance(numbers, range) else np.array(numbers, np.int64)
