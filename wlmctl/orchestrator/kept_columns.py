"""Where the data of a class of open roles are, kept from look to look: only what has changed is looked up again."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import compress
from typing import TYPE_CHECKING

from wlmctl.orchestrator.ready import ReadyGroup
from wlmctl.scheduler import DataColumns

if TYPE_CHECKING:
    from wlmctl.orchestrator.work import Work

#: Of so many roles the data are looked up by themselves: each has to be searched for.
MOST_FILLED = 50


class KeptColumns:
    """Of one group, no two of whose tasks wait for the same role: for each the machine that has data of it, and how
    much. It knows of one machine for each role, so it is of use as long as these are read from one role alone.
    """

    def __init__(self, work: Work, group: ReadyGroup) -> None:
        self._work, self._group, self._role = work, group, group.own or ""
        #: The role that these are filled from, and the place that ``local`` is: all is looked up again with another.
        self._stem: tuple[str | None, str | None] = None, None
        #: Beside the group's own roles: the machine's number, -1 where there are no data, and how much.
        self._at, self._sizes = array("q"), array("q")
        self._numbers: dict[str, int] = {}
        #: How many roles are without, and how much of what was put has been seen.
        self._without = self._seen = 0
        self._shown: DataColumns | None = None
        group.changes = None

    def is_of(self, group: ReadyGroup) -> bool:
        """True where it is of this group."""
        return self._group is group

    def columns(self) -> DataColumns | None:
        """The columns as they are now; None where they must be put together in another way."""
        locality, group = self._work.locality, self._group
        stem = locality.only_source(self._role), self._work.local
        changes, group.changes = group.changes, []
        put, self._seen = locality.put_since(self._seen), locality.version
        filled = self._of_group(put, stem[0]) if stem == self._stem and changes is not None else []
        if stem[0] is None:
            group.changes, self._stem = None, stem
            return None
        if changes is None or stem != self._stem or len(filled) > MOST_FILLED:
            self._stem, self._numbers = stem, {}
            at, sizes = self._found(group.own_roles)
            self._at, self._sizes = array("q", at), array("q", sizes)
            self._without = self._at.count(-1)
        elif not changes and not filled and self._shown is not None:
            return self._shown
        else:
            self._follow(changes)
            self._refill(filled)
        self._shown = self._as_columns()
        return self._shown

    def _of_group(self, put: Sequence[str], source: str | None) -> list[str]:
        """Those of the group's roles that read what was put."""
        begin = f"{source}["
        keys = [f"{self._role}[{each[len(begin) :]}" for each in put if each.startswith(begin)]
        return [key for key in dict.fromkeys(keys) if self._group.has(key)]

    def _follow(self, changes: Sequence[tuple[int, str | None]]) -> None:
        """Roles have come, and have gone."""
        for where, key in changes:
            if key is None:
                self._without -= self._at.pop(where) < 0
                del self._sizes[where]
            else:
                [at], [size_bytes] = self._found([key])
                self._at.insert(where, at)
                self._sizes.insert(where, size_bytes)
                self._without += at < 0

    def _refill(self, keys: Sequence[str]) -> None:
        """More was put where these are filled from."""
        for key, at, size_bytes in zip(keys, *self._found(keys), strict=True):
            where = self._group.own_roles.index(key)
            self._without += (at < 0) - (self._at[where] < 0)
            self._at[where], self._sizes[where] = at, size_bytes

    def _found(self, keys: Sequence[str]) -> tuple[Sequence[int], Sequence[int]]:
        """Of each of these roles the number of the machine that has data of it, and how much."""
        work, begin = self._work, len(self._role)

        def number_of(machine: str | None) -> int:
            place = work.place_of(machine) if machine is not None else None
            return -1 if place is None else self._numbers.setdefault(place, len(self._numbers))

        sources = [f"{self._stem[0]}{key[begin:]}" for key in keys]
        at, sizes = work.locality.layer(sources, work.bindings, number_of)
        return [number if size_bytes else -1 for number, size_bytes in zip(at, sizes, strict=True)], sizes

    def _as_columns(self) -> DataColumns:
        machines, count = tuple(self._numbers), len(self._at)
        if not self._without:  # copies: what is shown is never changed
            return DataColumns(machines, _counting(count), self._at[:], self._sizes[:])
        is_there = [at >= 0 for at in self._at]
        there = [array("q", compress(each, is_there)) for each in (range(count), self._at, self._sizes)]
        return DataColumns(machines, *there)


_numbers = array("q")


def _counting(count: int) -> array[int]:
    """All numbers below this one: copying them is much quicker than making them."""
    if len(_numbers) < count:
        _numbers.extend(range(len(_numbers), 2 * count))
    return _numbers[:count]
