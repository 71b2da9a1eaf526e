"""What came of a simulation, in figures: waits, slowdowns, use of the nodes, how alike users were served."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from wlmctl.simulation.engine import Outcome

#: Jobs shorter than this count as this long in slowdowns, so that the shortest do not outweigh all others.
SHORTEST_S = 10.0

#: Measured times are told as one of these, times a power of ten: no finer, so that two runs tell the same.
_FINEST_S = 0.003


@dataclass(frozen=True, slots=True)
class Figures:
    """One strategy's figures; times are None where no job has started.

    ``user_fairness`` is Jain's index of the users' mean slowdowns: 1 where all were served alike, 1/n at the worst.
    ``utilisation`` is of gpus where jobs ask for any, else of cpus. ``decision_mean_s`` is measured processor time.
    """

    name: str
    jobs: int
    wait_mean_s: float | None
    wait_p50_s: float | None
    wait_p95_s: float | None
    wait_max_s: float | None
    slowdown_mean: float | None
    utilisation: float
    makespan_s: float
    user_fairness: float | None
    decision_mean_s: float


def figures(name: str, outcome: Outcome) -> Figures:
    """The figures of the jobs that were started."""
    problem = outcome.problem
    waits, slowdowns, of_users = list[float](), list[float](), defaultdict[str, list[float]](list)
    used_cpus = used_gpus = 0.0
    last_s = first_s = problem.jobs[0].arrive_s if problem.jobs else 0.0
    for job, shape, start_s in zip(problem.jobs, problem.shapes, outcome.start_s, strict=True):
        if start_s is None:
            continue
        waits.append(start_s - job.arrive_s)
        slowdowns.append(max(1.0, (waits[-1] + job.run_s) / max(SHORTEST_S, job.run_s)))
        of_users[shape.user].append(slowdowns[-1])
        used_cpus += job.run_s * shape.cpus * shape.nodes
        used_gpus += job.run_s * shape.gpus * shape.nodes
        last_s = max(last_s, start_s + job.run_s)
    makespan_s = last_s - first_s
    there, used = sum(node.gpus for node in problem.nodes), used_gpus
    if not used:
        there, used = sum(node.cpus for node in problem.nodes), used_cpus
    waits.sort()
    return Figures(
        name,
        len(waits),
        _rounded(statistics.fmean(waits) if waits else None),
        _rounded(percentile(waits, 50)),
        _rounded(percentile(waits, 95)),
        _rounded(percentile(waits, 100)),
        _rounded(statistics.fmean(slowdowns) if slowdowns else None),
        round(used / (there * makespan_s), 4) if makespan_s and there else 0.0,
        round(makespan_s, 3),
        _rounded(_jain([statistics.fmean(of_user) for of_user in of_users.values()])),
        coarse_s(outcome.spent_s / max(1, outcome.decisions)),
    )


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The smallest value that so many of the values do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else None


def coarse_s(seconds: float) -> float:
    """A measured time rounded up to 3 ms, 30 ms, 0.3 s ...: what is finer tells more of the machine's other work."""
    if seconds <= 0:
        return 0.0
    steps = max(0, math.ceil(math.log10(seconds / _FINEST_S) - 1e-9))
    return round(_FINEST_S * 10.0**steps, 6)


def _jain(values: Sequence[float]) -> float | None:
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values)) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
