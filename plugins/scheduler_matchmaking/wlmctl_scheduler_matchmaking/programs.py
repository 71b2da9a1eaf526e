"""Linear programs by HiGHS, which are changed and solved again; they count steps, never time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Solved:
    """How much of each column, what one more of each row is worth, and the steps that it took."""

    amounts: Sequence[float]
    prices: Sequence[float]
    steps: int


class Program:
    """Maximize the worth of columns of at least 0 whose rows may not exceed their limits."""

    def __init__(self, limits: Sequence[float]) -> None:
        import highspy

        class Quiet(highspy.Highs):
            """Says nothing: with callbacks comes a line about HiGHS on stdout, before there is an option against it."""

            def enableCallbacks(self) -> None:  # noqa: N802 - the name is HiGHS's
                pass

        self._optimal, self._infinite = highspy.HighsModelStatus.kOptimal, highspy.kHighsInf
        make: Any = Quiet
        self._program = make()
        for option, value in (("output_flag", False), ("parallel", "off"), ("solver", "simplex"), ("presolve", "off")):
            self._program.setOptionValue(option, value)
        self._program.changeObjectiveSense(highspy.ObjSense.kMaximize)
        for limit in limits:
            self._program.addRow(-self._infinite, limit, 0, [], [])

    def add(self, worth: float, entries: Sequence[tuple[int, float]]) -> None:
        """One more column, which takes so much of each row (row, amount)."""
        rows, amounts = [row for row, _ in entries], [amount for _, amount in entries]
        self._program.addCol(worth, 0, self._infinite, len(rows), rows, amounts)

    def limit(self, limits: Sequence[float]) -> None:
        """From now on these are the rows' limits."""
        for row, limit in enumerate(limits):
            self._program.changeRowBounds(row, -self._infinite, limit)

    def value(self, worths: Sequence[float], most: Sequence[float]) -> None:
        """From now on the columns are worth so much, and there is so much of each at most."""
        for column, (worth, limit) in enumerate(zip(worths, most, strict=True)):
            self._program.changeColCost(column, worth)
            self._program.changeColBounds(column, 0, limit)

    def solve(self, most_steps: int) -> Solved | None:
        """The best answer; None where it took more steps of the simplex method."""
        self._program.setOptionValue("simplex_iteration_limit", max(0, most_steps))
        self._program.run()
        if self._program.getModelStatus() != self._optimal:
            return None
        found = self._program.getSolution()
        steps = max(0, self._program.getInfo().simplex_iteration_count)
        return Solved(list(found.col_value), list(found.row_dual), steps)
