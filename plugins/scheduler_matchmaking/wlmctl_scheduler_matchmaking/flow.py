"""Tasks of demand classes sent to worker classes: as many as possible, at least cost, band after band.

A flow from demand classes to worker classes, which have slots, and a price for each slot that is used. Along an
augmenting path tasks move from one worker class to the next, and all that it costs in the end is the price of the slot
that is taken: the cheapest paths are those to the cheapest free slots that can be reached, so that least cost takes no
more than a search, one price after the other.

What has been sent stays sent: later bands may move it to other worker classes, never push it out. Hence every prefix
of bands has as many tasks as possible (the sets of tasks that can start together are a transversal matroid), at the
least cost for that many.

Sets of classes are bits of integers: a search is a few operations on whole sets for each class that it meets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from operator import or_


class Flow:
    """One such problem. ``limit`` bounds the classes that searches meet, so that a replay repeats."""

    def __init__(self, slots: Sequence[int], prices: Sequence[int], limit: int) -> None:
        #: By worker class: slots that are left, and how many tasks of each demand class it holds.
        self.left = [max(0, count) for count in slots]
        self.held: list[dict[int, int]] = [{} for _ in slots]
        #: By demand class: the worker classes that are able.
        self.able: list[int] = []
        self.prices = prices
        self.steps = 0
        self.limit = limit
        self._holds = [0] * len(slots)
        #: The worker classes that have a slot left.
        self.free = sum(1 << worker for worker, count in enumerate(self.left) if count)
        at_price = dict[int, int]()
        for worker, price in enumerate(prices):
            at_price[price] = at_price.get(price, 0) | 1 << worker
        #: For each price the worker classes that have it, the lowest first.
        self._at_price = [at_price[price] for price in sorted(at_price)]
        #: One after the other: worker classes whose slots are goals, and the parts in which free ones are taken.
        self._goals: list[tuple[int, Sequence[int]]] = [
            (within, (within,)) for within in accumulate(self._at_price, or_)
        ]
        #: Classes from which no free slot can be reached, and never will.
        self._closed_workers = self._closed_demands = 0

    @property
    def is_exact(self) -> bool:
        """False once the limit was reached: what came later was sent only where a slot was free."""
        return self.steps <= self.limit

    def add(self, able: int) -> int:
        """One more demand class, with the set of worker classes that are able; its number."""
        self.able.append(able)
        return len(self.able) - 1

    def cost_alike(self) -> None:
        """From now on least cost is not asked for. Free slots are still taken the cheapest first: as few others seek
        them, least has to be moved later.
        """
        self._goals = [(within, self._at_price) for within, _ in self._goals[-1:]]

    def send(self, band: Sequence[tuple[int, int]]) -> list[int]:
        """Send as many as possible of one band, (demand class, tasks), each class once; how many of each were sent.

        Where they compete for slots of one price, those that are named first go first.
        """
        wanted = dict(band)
        for within, parts in self._goals:
            if not within & self.free:
                continue
            dead = _Dead(self._closed_workers, self._closed_demands)
            for demand, _ in band:
                left, open_ = wanted[demand], self.able[demand] & within & self.free
                if left and open_:
                    for part in parts:
                        if part & open_:
                            left -= self._take(demand, left, part & open_)
                            if not left:
                                break
                    wanted[demand] = left
                while wanted[demand] and not dead.demands >> demand & 1:
                    path = self._path(demand, within & self.free, dead)
                    if path is None:
                        break
                    wanted[demand] -= self._augment(path, wanted[demand])
            if self.free & ~within == 0:  # what reached no free slot at any price is closed for good
                self._closed_workers, self._closed_demands = dead.workers, dead.demands
        return [tasks - wanted[demand] for demand, tasks in band]

    def hold(self, demand: int, worker: int, tasks: int) -> None:
        """So many tasks of a demand class go to a worker class, which had nothing of it: another solver says so."""
        self.held[worker][demand] = tasks
        self._holds[worker] |= 1 << demand
        self._use(worker, tasks)

    def reaches(self, demands: Iterable[int]) -> dict[int, int]:
        """For each demand class the worker classes on which one more slot would start one more of its tasks."""
        onward = list[int]()
        for held in self.held:
            mask = 0
            for other in held:
                mask |= self.able[other]
            onward.append(mask)
        from_worker, found = dict[int, int](), dict[int, int]()
        for demand in sorted(demands):
            reached, fresh = self.able[demand], self.able[demand]
            while fresh:
                worker = _lowest(fresh)
                if worker not in from_worker:
                    from_worker[worker] = _closure(worker, onward, from_worker)
                reached |= from_worker[worker]
                fresh &= ~from_worker[worker]
            found[demand] = reached
        return found

    def _take(self, demand: int, most: int, open_: int) -> int:
        """Send to these worker classes, which have slots left; how many."""
        wanted, bit = most, 1 << demand
        left, held, holds = self.left, self.held, self._holds
        while open_ and wanted:
            first = open_ & -open_
            open_ ^= first
            worker = first.bit_length() - 1
            tasks = left[worker]
            if tasks > wanted:
                tasks = wanted
            else:
                self.free ^= first
            there = held[worker]
            there[demand] = there.get(demand, 0) + tasks
            holds[worker] |= bit
            left[worker] -= tasks
            wanted -= tasks
        return most - wanted

    def _path(self, start: int, goals: int, dead: _Dead) -> list[tuple[int, int]] | None:
        """The shortest way from a demand class to a slot of ``goals``: (demand class, worker class it moves to), ...

        It has none of them itself. None where there is none: then all that was met is dead.
        """
        if not self.is_exact:
            return None
        workers, demands, holds = dead.workers, dead.demands | 1 << start, self._holds
        near = dead.near if dead.near is not None else self._near(goals)
        came_from = dict[int, tuple[int, int]]()  # by demand class: whose way leads here, over which worker class
        queue = [start]
        for demand in queue:
            new = self.able[demand] & ~workers
            workers |= new
            self.steps += new.bit_count()
            while new:
                lowest = new & -new
                new ^= lowest
                worker = lowest.bit_length() - 1
                others = holds[worker] & ~demands
                demands |= others
                while others:
                    # those that may be near first: most ways have only one step more
                    first = others & near or others
                    first &= -first
                    others ^= first
                    other = first.bit_length() - 1
                    came_from[other] = demand, worker
                    if first & near:
                        if self.able[other] & goals:
                            dead.near = near
                            way = [(other, _lowest(self.able[other] & goals))]
                            while way[-1][0] != start:
                                way.append(came_from[way[-1][0]])
                            return way[::-1]
                        near ^= first
                    queue.append(other)
        dead.workers, dead.demands, dead.near = workers, demands, near
        return None

    def _near(self, goals: int) -> int:
        """The demand classes that are able to use a slot of ``goals`` themselves."""
        return sum([1 << demand for demand, able in enumerate(self.able) if able & goals])

    def _augment(self, path: Sequence[tuple[int, int]], most: int) -> int:
        """Move tasks along the path; how many."""
        held, last = self.held, path[-1][1]
        tasks = min(most, self.left[last])
        for (_, before), (demand, _) in pairwise(path):
            tasks = min(tasks, held[before][demand])
        for (_, before), (demand, _) in pairwise(path):
            held[before][demand] -= tasks
            if not held[before][demand]:
                del held[before][demand]
                self._holds[before] &= ~(1 << demand)
        for demand, worker in path:
            held[worker][demand] = held[worker].get(demand, 0) + tasks
            self._holds[worker] |= 1 << demand
        self._use(last, tasks)
        return tasks

    def _use(self, worker: int, tasks: int) -> None:
        self.left[worker] -= tasks
        if not self.left[worker]:
            self.free &= ~(1 << worker)


class _Dead:
    """Classes from which none of the goals can be reached: once it is so it stays so, until there are more goals."""

    __slots__ = ("demands", "near", "workers")

    def __init__(self, workers: int, demands: int) -> None:
        self.workers, self.demands = workers, demands
        #: No other demand classes can use one of the goals themselves; None: not looked for yet.
        self.near: int | None = None


def bits(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set, the lowest first."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _closure(start: int, onward: Sequence[int], known: Mapping[int, int]) -> int:
    """All that can be reached from a class over steps ``onward``, itself included; ``known`` are those of others."""
    reached = fresh = 1 << start
    while fresh:
        lowest = fresh & -fresh
        number = lowest.bit_length() - 1
        if number in known:
            reached |= known[number]
            fresh &= ~known[number]
        else:
            new = onward[number] & ~reached
            reached |= new
            fresh = fresh ^ lowest | new
    return reached
