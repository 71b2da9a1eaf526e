"""The best of many machines, asked for again and again while they fill."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice

from wlmctl.task import Resources
from wlmctl_scheduler_matchmaking.machines import Machines
from wlmctl_scheduler_matchmaking.rooms import Room


class Ranking:
    """Machines in the order in which one such task should take them.

    What is left of a machine only shrinks while a decision is made: so one that cannot take such a task, or that
    ``may`` refuses, is never looked at again; and one of which something was taken gets another place.
    """

    def __init__(
        self, machines: Machines, rooms: Mapping[str, Room], asked: Resources, may: Callable[[Room], bool]
    ) -> None:
        self._machines, self._all, self._asked, self._may = machines, rooms, asked, may
        self._rooms = dict[str, Room]()
        self._heap = list[tuple[float, str]]()
        self._named, self._seen = 0, len(machines.rooms.taken)

    def first(self, names: Collection[str]) -> list[tuple[float, str]]:
        """The best one alone, its rank and its name; empty where none has room.

        ``names`` are those to choose from, behind which more may come from one call to the next.
        """
        if self._named < len(names):
            self._add([self._all[name] for name in islice(names, self._named, None) if name in self._all])
            self._named = len(names)
        taken = self._machines.rooms.taken[self._seen :]
        self._seen += len(taken)
        self._add({name: room for room in taken if (name := room.view.name) in self._rooms}.values())
        while self._heap:
            best, room = self._heap[:1], self._rooms[self._heap[0][1]]
            now = [(rank, name) for rank, name, _ in self._machines.ranks([room], self._asked)]
            if now == best and self._may(room):
                return best
            heapq.heappop(self._heap)  # it has another place by now, or none
        return []

    def _add(self, rooms: Iterable[Room]) -> None:
        for rank, name, room in self._machines.ranks(rooms, self._asked):
            self._rooms[name] = room
            heapq.heappush(self._heap, (rank, name))


class Even:
    """Machines for roles whose first task takes nothing and whose later ones do: none gets many while others have few.

    ``bound`` counts the roles that are bound to each machine; it only grows while a decision is made. A machine is as
    good as the best one until so many are bound there as it has room for tasks that ask for ``later``.
    """

    def __init__(self, ranks: Iterable[tuple[float, str, Room]], later: Resources, bound: Mapping[str, int]) -> None:
        self._bound = bound
        found = [(rank, name, room) for rank, name, room in ranks]
        self._each = {name: room.at_once(later) for _, name, room in found}
        self._heap = [(self._turn(name), rank, name) for rank, name, _ in found]
        heapq.heapify(self._heap)

    def first(self, may: Callable[[str], bool]) -> str | None:
        """The best one; those that ``may`` refuses are never looked at again."""
        while self._heap:
            turn, rank, name = self._heap[0]
            if (now := self._turn(name)) != turn:
                heapq.heapreplace(self._heap, (now, rank, name))
            elif may(name):
                return name
            else:
                heapq.heappop(self._heap)
        return None

    def _turn(self, name: str) -> int:
        return self._bound.get(name, 0) // self._each[name]
