"""Tasks of many kinds on nodes of few shapes, as many as possible: by patterns, which are generated as columns.

A pattern is a filling of one node: so many tasks of each kind. A linear program chooses on how many nodes which pattern
goes, its prices tell which new pattern would be worth more, and so on until the rest is not worth the search. Then it
is made whole: what the program gives a whole number of nodes is settled, and it is solved again for the rest. It counts
rounds and steps of the simplex method, never time: so it ends, and ends the same whenever it is repeated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from wlmctl_scheduler_matchmaking.filling import LEAST, Amounts, Filling, Pattern, Shape, value
from wlmctl_scheduler_matchmaking.programs import Program, Solved

#: Rounds of new patterns, and steps of all programs over patterns together.
_ROUNDS = 40
_STEPS = 20_000

#: New patterns are looked for until no more than this part, or a task, of what is possible at all is missing.
_ENOUGH = 0.002

#: Patterns by shape, with the number of nodes that each goes on.
Packing = list[list[tuple[Pattern, int]]]


def packed(shapes: Sequence[Shape], asked: Sequence[Amounts], wanted: Sequence[int]) -> Packing:
    """For each shape patterns, and on how many nodes each goes; ``asked`` and ``wanted`` are by kind of task."""
    master = _Master(shapes, asked, wanted)
    master.grow()
    return master.whole()


class _Master:
    """The linear program: on how many nodes each pattern goes, so that most tasks are placed."""

    def __init__(self, shapes: Sequence[Shape], asked: Sequence[Amounts], wanted: Sequence[int]) -> None:
        self._fillings = [Filling(shape, asked) for shape in shapes]
        self._wanted, self._nodes = list(wanted), [shape.nodes for shape in shapes]
        self._program = Program([*self._wanted, *self._nodes])
        self._columns: list[tuple[int, Pattern]] = []
        self._known: set[tuple[int, tuple[tuple[int, int], ...]]] = set()
        self._steps_left = _STEPS
        for number, filling in enumerate(self._fillings):
            self._add(number, filling.best([1.0] * len(wanted), wanted)[0])

    def grow(self) -> None:
        """Find patterns that are worth more than those that are there."""
        kinds, is_thorough = len(self._wanted), False
        for _ in range(_ROUNDS):
            solved = self._solve()
            if solved is None:
                return
            worth, of_shape = [1.0 - price for price in solved.prices[:kinds]], solved.prices[kinds:]
            placed = sum(
                [part * sum(found.values()) for part, (_, found) in zip(solved.amounts, self._columns, strict=True)]
            )
            bound = sum([price * tasks for price, tasks in zip(solved.prices, self._wanted, strict=False)])
            is_better = False
            for number, filling in enumerate(self._fillings):
                pattern, most = filling.best(worth, self._wanted)
                bound += most * self._nodes[number]
                if is_thorough and value(pattern, worth) <= of_shape[number] + LEAST:
                    pattern = filling.improved(pattern, worth, self._wanted)
                if value(pattern, worth) > of_shape[number] + LEAST:
                    is_better |= self._add(number, pattern)
            if bound - placed < max(1.0, _ENOUGH * bound) or (is_thorough and not is_better):
                return
            is_thorough = not is_better

    def whole(self) -> Packing:
        """The program's answer in whole nodes: what is whole is settled, else the largest part is rounded up."""
        found: Packing = [[] for _ in self._fillings]

        def settle(number: int, pattern: Pattern, times: int) -> None:
            found[number].append((pattern, times))
            self._nodes[number] -= times
            for kind, tasks in pattern.items():
                self._wanted[kind] -= tasks * times

        while (solved := self._solve()) is not None:
            is_settled = False
            for (number, pattern), amount in zip(self._columns, solved.amounts, strict=True):
                times = math.floor(amount + LEAST)
                if times:
                    settle(number, pattern, times)
                    is_settled = True
            if not is_settled:
                column = max(range(len(self._columns)), key=solved.amounts.__getitem__)
                if solved.amounts[column] <= LEAST:
                    break
                number, pattern = self._columns[column]
                settle(number, {kind: min(tasks, self._wanted[kind]) for kind, tasks in pattern.items()}, 1)
            self._program.limit([*self._wanted, *self._nodes])
        for number, filling in enumerate(self._fillings):
            while self._nodes[number]:
                pattern, _ = filling.best([1.0] * len(self._wanted), self._wanted)
                if not pattern:
                    break
                settle(number, pattern, 1)
        return found

    def _add(self, number: int, pattern: Pattern) -> bool:
        """One more pattern of a shape; False where it is there already."""
        key = number, tuple(sorted(pattern.items()))
        if key in self._known:
            return False
        self._known.add(key)
        self._columns.append((number, pattern))
        self._program.add(sum(pattern.values()), [*pattern.items(), (len(self._wanted) + number, 1)])
        return True

    def _solve(self) -> Solved | None:
        solved = self._program.solve(self._steps_left)
        self._steps_left -= solved.steps if solved is not None else self._steps_left
        return solved
