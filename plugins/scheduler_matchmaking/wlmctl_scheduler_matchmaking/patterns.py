"""Tasks of many kinds on nodes of few shapes, as many as possible: by patterns, which are generated as columns.

A pattern is a filling of one node: so many tasks of each kind. A linear program chooses on how many nodes which pattern
goes, its prices tell which new pattern would be worth more, and so on until none is found. Then it is made whole: what
the program gives a whole number of nodes is settled, and it is solved again for the rest. It counts rounds and steps
of the simplex method, never time, so that it ends, and ends the same whenever it is repeated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

#: Cpus, bytes of memory, gpus.
Amounts = tuple[int, int, int]

#: So many tasks of each kind, of those that are there at all.
Pattern = dict[int, int]

#: Rounds of new patterns, and steps of all linear programs together.
_ROUNDS = 30
_STEPS = 20_000

#: What is not worth more than this is not worth a new pattern.
_LEAST_GAIN = 1e-6

#: How much cpus, memory and gpus count when a node is filled with what takes least for its worth.
_WEIGHTS = ((1.0, 1.0, 1.0), (1.0, 0.1, 0.1), (0.1, 1.0, 0.1), (1.0, 0.3, 1.0), (0.3, 1.0, 1.0))


@dataclass(frozen=True, slots=True)
class Shape:
    """Equal nodes: what is free of each, how many there are, and which kinds of tasks may run there."""

    free: Amounts
    nodes: int
    kinds: tuple[int, ...]


def packed(shapes: Sequence[Shape], asked: Sequence[Amounts], wanted: Sequence[int]) -> list[list[tuple[Pattern, int]]]:
    """For each shape patterns, and on how many nodes each goes; ``asked`` and ``wanted`` are by kind of task."""
    fillings = [_Filling(shape, asked) for shape in shapes]
    master = _Master([shape.nodes for shape in shapes], wanted)
    for number, filling in enumerate(fillings):
        master.add(number, filling.best([1.0] * len(asked), wanted))
    for _ in range(_ROUNDS):
        prices = master.prices()
        if prices is None:
            break
        worth = [1.0 - price for price in prices[: len(asked)]]
        is_better = False
        for number, filling in enumerate(fillings):
            pattern = filling.best(worth, wanted)
            gain = sum([worth[kind] * tasks for kind, tasks in pattern.items()]) - prices[len(asked) + number]
            if gain > _LEAST_GAIN:
                is_better |= master.add(number, pattern)
        if not is_better:
            break
    return _whole(master, fillings, list(wanted))


def _whole(master: _Master, fillings: Sequence[_Filling], wanted: list[int]) -> list[list[tuple[Pattern, int]]]:
    """The master's answer in whole nodes: what is whole is settled, the largest part is rounded up, and so on."""
    found: list[list[tuple[Pattern, int]]] = [[] for _ in fillings]
    nodes = [filling.shape.nodes for filling in fillings]

    def settle(number: int, pattern: Pattern, times: int) -> None:
        found[number].append((pattern, times))
        nodes[number] -= times
        for kind, tasks in pattern.items():
            wanted[kind] -= tasks * times

    while (amounts := master.amounts()) is not None:
        is_settled = False
        for (number, pattern), amount in zip(master.columns, amounts, strict=True):
            times = min(math.floor(amount + _LEAST_GAIN), nodes[number])
            if times:
                settle(number, pattern, times)
                is_settled = True
        if not is_settled:
            amount, column = max(((amount, -at) for at, amount in enumerate(amounts)), default=(0.0, 0))
            if amount <= _LEAST_GAIN:
                break
            number, pattern = master.columns[-column]
            settle(number, _within(pattern, wanted), 1)
        master.want(nodes, wanted)
    for number, filling in enumerate(fillings):
        while nodes[number]:
            pattern = filling.best([1.0] * len(wanted), wanted)
            if not pattern:
                break
            settle(number, pattern, 1)
    return found


def _within(pattern: Pattern, wanted: Sequence[int]) -> Pattern:
    return {kind: min(tasks, wanted[kind]) for kind, tasks in pattern.items() if wanted[kind]}


class _Filling:
    """How a node of one shape can be filled."""

    def __init__(self, shape: Shape, asked: Sequence[Amounts]) -> None:
        self.shape, self._asked = shape, asked
        free = shape.free
        fitting = [kind for kind in shape.kinds if all(each <= there for each, there in zip(asked[kind], free, strict=True))]
        #: For each weighting, how much of the node a task of each kind takes.
        self._sizes = [
            {
                kind: sum([weight * each / there for weight, each, there in zip(weights, asked[kind], free, strict=True) if each])
                for kind in fitting
            }
            for weights in _WEIGHTS
        ]

    def best(self, worth: Sequence[float], wanted: Sequence[int]) -> Pattern:
        """The most valuable filling that is found, where a task of each kind has some worth."""
        best, most = Pattern(), 0.0
        for order in self._orders(worth, wanted):
            pattern = self._filled(order, wanted)
            value = sum([worth[kind] * tasks for kind, tasks in pattern.items()])
            if value > most + _LEAST_GAIN:
                best, most = pattern, value
        return best

    def _orders(self, worth: Sequence[float], wanted: Sequence[int]) -> Iterator[list[int]]:
        """Kinds in the orders in which the node may be filled: by worth for what they take; each of the first first."""
        for sizes in self._sizes:
            useful = [kind for kind in sizes if worth[kind] > _LEAST_GAIN and wanted[kind]]
            useful.sort(key=lambda kind: (-worth[kind] / sizes[kind], kind))
            yield useful
            for at in range(1, min(4, len(useful))):
                yield [useful[at], *useful[:at], *useful[at + 1 :]]

    def _filled(self, order: Sequence[int], wanted: Sequence[int]) -> Pattern:
        cpus, memory, gpus = self.shape.free
        pattern = Pattern()
        for kind in order:
            each = self._asked[kind]
            tasks = min(wanted[kind], cpus // each[0])
            if each[1]:
                tasks = min(tasks, memory // each[1])
            if each[2]:
                tasks = min(tasks, gpus // each[2])
            if tasks:
                pattern[kind] = tasks
                cpus, memory, gpus = cpus - tasks * each[0], memory - tasks * each[1], gpus - tasks * each[2]
        return pattern


class _Master:
    """The linear program: on how many nodes each pattern goes, so that most tasks are placed."""

    def __init__(self, nodes: Sequence[int], wanted: Sequence[int]) -> None:
        import highspy

        self.columns: list[tuple[int, Pattern]] = []
        self._known: set[tuple[int, tuple[tuple[int, int], ...]]] = set()
        self._kinds, self._steps = len(wanted), 0
        self._optimal, self._infinite = highspy.HighsModelStatus.kOptimal, highspy.kHighsInf
        self._program: Any = highspy.Highs()
        for option, value in (("output_flag", False), ("threads", 1), ("parallel", "off"), ("solver", "simplex")):
            self._program.setOptionValue(option, value)
        self._program.changeObjectiveSense(highspy.ObjSense.kMaximize)
        for limit in (*wanted, *nodes):
            self._program.addRow(-self._infinite, limit, 0, [], [])

    def add(self, number: int, pattern: Pattern) -> bool:
        """One more pattern of a shape; False where it is there already."""
        key = number, tuple(sorted(pattern.items()))
        if key in self._known:
            return False
        self._known.add(key)
        self.columns.append((number, pattern))
        rows, counts = [*pattern, self._kinds + number], [*pattern.values(), 1]
        self._program.addCol(sum(pattern.values()), 0, self._infinite, len(rows), rows, counts)
        return True

    def want(self, nodes: Sequence[int], wanted: Sequence[int]) -> None:
        """From now on the program is about so many nodes and tasks."""
        for row, limit in enumerate((*wanted, *nodes)):
            self._program.changeRowBounds(row, -self._infinite, limit)

    def prices(self) -> list[float] | None:
        """What one more task of each kind, then one more node of each shape is worth; None where it was given up."""
        return list(self._program.getSolution().row_dual) if self._solved() else None

    def amounts(self) -> list[float] | None:
        """On how many nodes each column goes; None where it was given up."""
        return list(self._program.getSolution().col_value) if self._solved() else None

    def _solved(self) -> bool:
        self._program.setOptionValue("simplex_iteration_limit", max(0, _STEPS - self._steps))
        self._program.run()
        self._steps += self._program.getInfo().simplex_iteration_count
        return bool(self._program.getModelStatus() == self._optimal)
