"""A picture of simulated strategies: how long which part of the jobs waited, and what of the nodes was used when."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from wlmctl.errors import UsageError
from wlmctl.simulation.engine import Outcome
from wlmctl.text import in_quotes, shown

FORMATS = (".svg", ".png")

#: The use of the nodes is drawn as means over so many equal parts of the whole time.
_PARTS = 200

#: Shorter waits are drawn as one: at once.
_SHORTEST_S = 1.0


def check(path: Path) -> None:
    """Tell what keeps a picture from being drawn into the file."""
    if path.suffix not in FORMATS:
        raise UsageError(f"--plot {in_quotes(str(path))}: expected a name that ends with {' or '.join(FORMATS)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot: matplotlib is not installed, expected pip install 'wlmctl[plot]'")
    if not path.parent.is_dir():
        raise UsageError(f"--plot {in_quotes(str(path))}: there is no folder {shown(str(path.parent))}")
    if path.is_dir():
        raise UsageError(f"--plot {in_quotes(str(path))}: it is a folder, expected a file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"--plot {in_quotes(str(path))}: it cannot be written")


def draw(path: Path, outcomes: Sequence[tuple[str, Outcome]]) -> None:
    """Draw named outcomes of one problem into the file; equal outcomes give an equal file."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "wlmctl"}):
        figure = Figure(figsize=(10, 8), layout="constrained")
        waits, used = figure.subplots(2, 1)
        for name, outcome in outcomes:
            ordered = waits_s(outcome)
            shares = [100 * (number + 1) / len(outcome.start_s) for number in range(len(ordered))]
            waits.step([max(_SHORTEST_S, wait_s) for wait_s in ordered], shares, where="post", label=name)
            days, parts = utilisation(outcome)
            used.step(days, [100 * part for part in parts], where="post", label=name)
        waits.set(xscale="log", xlabel="waited at most, s", ylabel="jobs, %", title="Waits")
        used.set(xlabel="days", ylabel="used, %", title="Utilisation")
        for axes in (waits, used):
            axes.grid(alpha=0.3)
            axes.legend()
        try:
            figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        except OSError as error:
            raise UsageError(f"--plot {in_quotes(str(path))}: {error.strerror or error}") from error


def waits_s(outcome: Outcome) -> list[float]:
    """The waits of the jobs that were started, the shortest first."""
    starts = zip(outcome.problem.jobs, outcome.start_s, strict=True)
    return sorted(start_s - job.arrive_s for job, start_s in starts if start_s is not None)


def utilisation(outcome: Outcome, parts: int = _PARTS) -> tuple[list[float], list[float]]:
    """By equal parts of the time from the first arrival to the last end: where each begins, in days, and how much of
    the nodes was used in it: of the gpus where jobs ask for any, else of the cpus.
    """
    problem = outcome.problem
    spans = [
        (start_s, start_s + job.run_s, shape)
        for job, shape, start_s in zip(problem.jobs, problem.shapes, outcome.start_s, strict=True)
        if start_s is not None
    ]
    first_s = problem.jobs[0].arrive_s
    part_s = (max((end_s for _, end_s, _ in spans), default=first_s) - first_s) / parts
    kind = "gpus" if any(shape.gpus for _, _, shape in spans) else "cpus"
    there = sum(getattr(node, kind) for node in problem.nodes)
    if not part_s or not there:
        return [], []
    # a span adds its amount from one part on; where it begins or ends within a part, only a share of that one
    changes = [0.0] * (parts + 2)
    for start_s, end_s, shape in spans:
        amount = getattr(shape, kind) * shape.nodes / there
        for at, sign in ((start_s, amount), (end_s, -amount)):
            part = min(parts - 1, int((at - first_s) / part_s))
            within = (at - first_s) / part_s - part
            changes[part] += sign * (1 - within)
            changes[part + 1] += sign * within
    days = [number * part_s / 86400 for number in range(parts)]
    return days, list(accumulate(changes))[:parts]
