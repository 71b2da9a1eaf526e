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
    """Fillings of a node of one shape; ``asked`` is what a task of each kind takes, of cpus one at least."""

    def __init__(self, shape: Shape, asked: Sequence[Amounts]) -> None:
        self.shape, self._asked = shape, asked
        self._kinds = [
            kind
            for kind in shape.kinds
            if all(each <= there for each, there in zip(asked[kind], shape.free, strict=True))
        ]
        #: Which part of the node's cpus, memory and gpus a task of each kind takes.
        self._parts = {
            kind: [each / there if each else 0.0 for each, there in zip(asked[kind], shape.free, strict=True)]
            for kind in self._kinds
        }
        self._program = Program([1.0] * len(shape.free))
        for parts in self._parts.values():
            self._program.add(0.0, [(row, part) for row, part in enumerate(parts) if part])

    def best(self, worth: Sequence[float], wanted: Sequence[int]) -> tuple[Pattern, float]:
        """A valuable filling, and what none can exceed: tasks in parts are rounded down, and the rest is filled up."""
        useful = [kind for kind in self._kinds if worth[kind] > LEAST and wanted[kind]]
        self._program.value([max(0.0, worth[kind]) for kind in self._kinds], [wanted[kind] for kind in self._kinds])
        solved = self._program.solve(_STEPS)
        if solved is None:
            return self._filled([(kind, wanted[kind]) for kind in self._by_size(useful, worth)], wanted), math.inf
        amounts = dict(zip(self._kinds, solved.amounts, strict=True))
        whole = {kind: math.floor(amounts[kind] + LEAST) for kind in useful}
        gain = {
            kind: worth[kind]
            - sum([price * part for price, part in zip(solved.prices, self._parts[kind], strict=True)])
            for kind in useful
        }
        by_part = sorted(useful, key=lambda kind: (whole[kind] - amounts[kind], -gain[kind], kind))
        by_gain = sorted(useful, key=lambda kind: (-gain[kind], kind))
        found = [
            self._filled([*whole.items(), *[(kind, wanted[kind]) for kind in order]], wanted)
            for order in (by_part, by_gain)
        ]
        bound = sum([worth[kind] * amounts[kind] for kind in useful])
        return max(found, key=lambda pattern: value(pattern, worth)), bound

    def improved(self, pattern: Pattern, worth: Sequence[float], wanted: Sequence[int]) -> Pattern:
        """The filling, or a better one that is found by taking tasks of one kind out and trying each other first."""
        useful = self._by_size([kind for kind in self._kinds if worth[kind] > LEAST and wanted[kind]], worth)
        best, most = pattern, value(pattern, worth)
        for kind, tasks in pattern.items():
            for fewer in sorted({tasks - 1, 0}):
                rest = {**pattern, kind: fewer}
                for first in useful:
                    if first == kind:
                        continue
                    order = [*rest.items(), (first, wanted[first]), *[(each, wanted[each]) for each in useful]]
                    other = self._filled(order, wanted)
                    if value(other, worth) > most + LEAST:
                        best, most = other, value(other, worth)
        return best

    def _by_size(self, kinds: Iterable[int], worth: Sequence[float]) -> list[int]:
        return sorted(kinds, key=lambda kind: (-worth[kind] / sum(self._parts[kind]), kind))

    def _filled(self, order: Iterable[tuple[int, int]], wanted: Sequence[int]) -> Pattern:
        """As many tasks as fit, up to so many of one kind after the other (kind, tasks)."""
        cpus, memory, gpus = self.shape.free
        found = Pattern()
        for kind, most in order:
            each = self._asked[kind]
            tasks = min(most, wanted[kind] - found.get(kind, 0), cpus // each[0])
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
