"""How one node can be filled with tasks of many kinds, so that they are worth most."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wlmctl_scheduler_matchmaking.programs import Program

#: Cpus, bytes of memory, gpus.
Amounts = tuple[int, int, int]

#: So many tasks of each kind, of those that are there at all.
Pattern = dict[int, int]

#: What is not worth more than this is worth nothing.
LEAST = 1e-6

#: Steps of the simplex method for one filling.
_STEPS = 200


@dataclass(frozen=True, slots=True)
class Shape:
    """Equal nodes: what is free of each, how many there are, and which kinds of tasks may run there."""

    free: Amounts
    nodes: int
    kinds: tuple[int, ...]


class Filling:
    """Fillings of a node of one shape; ``asked`` is what a task of each kind takes."""

    def __init__(self, shape: Shape, asked: Sequence[Amounts]) -> None:
        self.shape, self._asked = shape, asked
        self._kinds = [kind for kind in shape.kinds if all(a <= b for a, b in zip(asked[kind], shape.free, strict=True))]
        self._program = Program(shape.free)
        for kind in self._kinds:
            self._program.add(0.0, [(row, each) for row, each in enumerate(asked[kind]) if each])

    def best(self, worth: Sequence[float], wanted: Sequence[int]) -> tuple[Pattern, float]:
        """A valuable filling, and what none can exceed: tasks in parts are rounded down, and the rest is filled up."""
        useful = [kind for kind in self._kinds if worth[kind] > LEAST and wanted[kind]]
        self._program.value([max(0.0, worth[kind]) for kind in self._kinds], [wanted[kind] for kind in self._kinds])
        solved = self._program.solve(_STEPS)
        if solved is None:
            return self.filled({}, sorted(useful, key=lambda kind: -worth[kind]), wanted), math.inf
        parts, prices, _ = solved
        amounts = dict(zip(self._kinds, parts, strict=True))
        whole = {kind: math.floor(amount + LEAST) for kind, amount in amounts.items() if amount >= 1 - LEAST}
        gain = {
            kind: worth[kind] - sum([price * each for price, each in zip(prices, self._asked[kind], strict=True)])
            for kind in useful
        }
        by_part = sorted(useful, key=lambda kind: (whole.get(kind, 0) - amounts[kind], -gain[kind], kind))
        by_gain = sorted(useful, key=lambda kind: (-gain[kind], kind))
        found = [self.filled(whole, order, wanted) for order in (by_part, by_gain)]
        bound = sum([worth[kind] * amount for kind, amount in amounts.items()])
        return max(found, key=lambda pattern: value(pattern, worth)), bound

    def improved(self, pattern: Pattern, worth: Sequence[float], wanted: Sequence[int]) -> Pattern:
        """The filling, or a better one that is found by taking tasks of one kind out and trying each other first."""
        size = {
            kind: sum([each / there for each, there in zip(self._asked[kind], self.shape.free, strict=True) if each])
            for kind in self._kinds
        }
        useful = [kind for kind in self._kinds if worth[kind] > LEAST and wanted[kind]]
        useful.sort(key=lambda kind: (-worth[kind] / size[kind], kind))
        best, most = pattern, value(pattern, worth)
        for kind, tasks in pattern.items():
            for fewer in {tasks - 1, 0}:
                rest = {**pattern, kind: fewer}
                for first in useful:
                    if first != kind:
                        other = self.filled(rest, [first, *useful], wanted)
                        if value(other, worth) > most + LEAST:
                            best, most = other, value(other, worth)
        return best

    def filled(self, pattern: Pattern, order: Iterable[int], wanted: Sequence[int]) -> Pattern:
        """The filling with as many more tasks as fit, of one kind after the other."""
        cpus, memory, gpus = self.shape.free
        for kind, tasks in pattern.items():
            each = self._asked[kind]
            cpus, memory, gpus = cpus - tasks * each[0], memory - tasks * each[1], gpus - tasks * each[2]
        found = {kind: tasks for kind, tasks in pattern.items() if tasks}
        for kind in order:
            each = self._asked[kind]
            tasks = min(wanted[kind] - found.get(kind, 0), cpus // each[0])
            if each[1]:
                tasks = min(tasks, memory // each[1])
            if each[2]:
                tasks = min(tasks, gpus // each[2])
            if tasks > 0:
                found[kind] = found.get(kind, 0) + tasks
                cpus, memory, gpus = cpus - tasks * each[0], memory - tasks * each[1], gpus - tasks * each[2]
        return found


def value(pattern: Pattern, worth: Sequence[float]) -> float:
    """What the tasks of a filling are worth together."""
    return sum([worth[kind] * tasks for kind, tasks in pattern.items()])
