"""Figures of many runs, promises about them, and the Markdown that shows both."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Spread:
    """The same thing measured several times, in one unit."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def text(self, form: str = "{:.2f}") -> str:
        """``median (least-most)``."""
        if len(self.values) == 1:
            return form.format(self.median)
        return f"{form.format(self.median)} ({form.format(min(self.values))}-{form.format(max(self.values))})"

    def text_ms(self) -> str:
        """The same in milliseconds, where the values are seconds."""
        return Spread([value * 1000 for value in self.values]).text("{:.0f}")


@dataclass(slots=True)
class Report:
    """One benchmark's tables and promises; printed as they come, so that a long one shows where it is."""

    is_quick: bool
    missed: list[str] = field(default_factory=list)

    def title(self, text: str) -> None:
        """A heading, with the machine and how busy it is."""
        print(f"\n### {text}\n")
        load = os.getloadavg()[0]
        print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load before the start {load:.1f}.\n")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A Markdown table."""
        print(f"| {' | '.join(columns)} |")
        print(f"|{'---|' * len(columns)}")
        for row in rows:
            print(f"| {' | '.join(map(str, row))} |", flush=True)
        print()

    def promise(self, what: str, value: float, limit: float, *, at_least: bool = False, unit: str = "x") -> None:
        """Say whether a promise is kept; a missed one makes the benchmark end with 1. ``--quick`` promises nothing."""
        is_kept = value >= limit if at_least else value <= limit
        sign = ">=" if at_least else "<="
        verdict = "not judged: --quick" if self.is_quick else "kept" if is_kept else "MISSED"
        print(f"- {what}: {value:.2f} {unit}, promised {sign} {limit:g} {unit}: **{verdict}**", flush=True)
        if not is_kept and not self.is_quick:
            self.missed.append(what)

    def end(self) -> int:
        """The exit code: 1 when a promise was missed."""
        if self.missed:
            print(f"{len(self.missed)} missed: {'; '.join(self.missed)}", file=sys.stderr)
        return 1 if self.missed else 0


def interleaved(runs: int, measured: Mapping[str, Callable[[], float]]) -> dict[str, Spread]:
    """Call each in turn, ``runs`` times over, so that a busy moment of the machine meets all of them."""
    found = {name: Spread() for name in measured}
    for number in range(runs):
        for name, measure in measured.items():
            found[name].values.append(measure())
            print(f"  {name} {number + 1}/{runs}: {found[name].values[-1]:.3f}", file=sys.stderr, flush=True)
    return found


def ratio(of: Spread, to: Spread) -> Spread:
    """Run by run, one divided by the other: neighbours in time are compared with each other."""
    return Spread([one / other for one, other in zip(of.values, to.values, strict=True)])
