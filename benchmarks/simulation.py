"""How long jobs of real traces would have waited: match-making beside typed FIFO and EASY; what simulating takes."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import options
from benchmarks.figures import Report
from benchmarks.process import take, wlmctl

MATCH, TYPED, EASY = "matchmaking", "typed-fifo", "easy"
UNRESERVED = f"{MATCH}:reserve_after=0"
STRICT = "fifo:ageing_step=0"

METACENTRUM = "metacentrum-wagap-2013.swf.gz"
ALIBABA = "alibaba-gpu-v2023-openb_pod_list_gpuspec33.csv.gz"

#: A sixteenth of the nodes: 390 GPUs; at this pace they are loaded to 0.88.
ALIBABA_CONDITIONS = ("--scale-machines", "1/16", "--compress", "45", "--cap-runtime", "1d")
ALIBABA_PRIORITIES = {"LS": "8", "Guaranteed": "8", "Burstable": "6", "BE": "2"}

Row = Mapping[str, Any]


@dataclass(slots=True)
class Played:
    """What ``wlmctl simulate`` told of each strategy, and how long it took."""

    rows: dict[str, Row]
    wall_s: float
    peak_bytes: int


def play(folder: Path, trace: Path, strategies: Sequence[str], *conditions: str) -> Played:
    """Simulate the trace under these conditions."""
    chosen = [word for name in strategies for word in ("--strategy", name)]
    taken = take([*wlmctl(), "simulate", "--trace", str(trace), *chosen, *conditions, "-o", "json"], folder)
    told = json.loads((folder / ".stdout").read_text().splitlines()[-1])
    return Played({row["name"]: row for row in told["strategies"]}, taken.wall_s, taken.peak_bytes)


def typed(folder: Path, trace: Path, runs: int, *conditions: str) -> Row:
    """Typed FIFO draws nodes: each figure is the median over so many seeds."""
    rows = [play(folder, trace, [TYPED], *conditions, "--seed", str(seed)).rows[TYPED] for seed in range(runs)]
    return {
        key: value if key == "name" else statistics.median(row[key] for row in rows) for key, value in rows[0].items()
    }


def table(report: Report, rows: Sequence[Row]) -> None:
    """A line for each strategy."""
    report.table(
        ("strategy", "mean wait s", "95 %", "longest", "slowdown", "used", "makespan d", "users alike"),
        [
            (
                row["name"], f"{row['wait_mean_s']:,.0f}", f"{row['wait_p95_s']:,.0f}", f"{row['wait_max_s']:,.0f}",
                f"{row['slowdown_mean']:.1f}", f"{row['utilisation']:.3f}", f"{row['makespan_s'] / 86400:.1f}",
                f"{row['user_fairness']:.3f}",
            )
            for row in rows
        ],
    )  # fmt: skip


def against(report: Report, what: str, one: Row, other: Row, limits: Mapping[str, float]) -> None:
    """Promise figures of one strategy as parts of those of another."""
    for figure, limit in limits.items():
        name = figure.removeprefix("wait_").removesuffix("_s")
        value = one[figure] / other[figure] if other[figure] else float(one[figure] > 0)
        report.promise(f"{what}: {name} wait beside {other['name']}", value, limit)


def metacentrum(report: Report, folder: Path, trace: Path, runs: int) -> None:
    """Two kinds of nodes with properties, jobs of several nodes, users, queues; as it was, and 1.4 times as dense."""
    for compress, limits, easy_limit in (
        ("1", {"wait_mean_s": 0.45, "wait_p95_s": 0.35}, 0.75),
        ("1.4", {"wait_mean_s": 0.5}, 0.8),
    ):
        report.title(f"MetaCentrum, --compress {compress}")
        condition = ("--compress", compress)
        alone = play(folder, trace, [MATCH], *condition)
        three = play(folder, trace, [TYPED, EASY, MATCH], *condition)
        free = play(folder, trace, [UNRESERVED], *condition).rows[UNRESERVED]
        yardstick, match, easy = typed(folder, trace, runs, *condition), alone.rows[MATCH], three.rows[EASY]
        table(report, [yardstick, easy, match, free])
        what = f"MetaCentrum x {compress}"
        against(report, what, match, yardstick, limits)
        against(report, what, match, easy, {"wait_mean_s": easy_limit})
        against(report, what, match, free, {"wait_max_s": 0.5})
        if compress == "1":
            report.promise("simulating match-making alone", alone.wall_s, 60, unit="s")
            report.promise("simulating typed FIFO, EASY and match-making", three.wall_s, 120, unit="s")
            print(f"\nmemory: {three.peak_bytes / 2**20:.0f} MiB\n")


def alibaba(report: Report, folder: Path, trace: Path, runs: int) -> None:
    """Tasks with one GPU, a third of which may not have every model."""
    report.title(f"Alibaba, {' '.join(ALIBABA_CONDITIONS)}")
    urgent = [f"--queue-priority={name}={level}" for name, level in ALIBABA_PRIORITIES.items()]
    yardstick = typed(folder, trace, runs, *ALIBABA_CONDITIONS)
    match = play(folder, trace, [MATCH], *ALIBABA_CONDITIONS).rows[MATCH]
    played = play(folder, trace, [MATCH, STRICT], *ALIBABA_CONDITIONS, *urgent).rows
    ranked, strict = ({**played[name], "name": f"{name}, priorities"} for name in (MATCH, STRICT))
    table(report, [yardstick, strict, match, ranked])
    against(report, "Alibaba", match, yardstick, {"wait_mean_s": 0.75})
    against(report, "Alibaba with priorities", ranked, yardstick, {"wait_mean_s": 0.65})
    against(report, "Alibaba with priorities", ranked, strict, {"wait_max_s": 0.5})


def tiny(report: Report, folder: Path) -> None:
    """A trace of a few jobs, so that each step is seen to work."""
    report.title("A tiny trace")
    jobs = [f"{n} {n * 60} -1 {600 + n % 7 * 300} {1 + n % 6} -1 -1 {1 + n % 6} 3600 -1 1 {n % 3} 1 -1 1 -1 -1 -1"
            for n in range(40)]  # fmt: skip
    trace = folder / "tiny.swf"
    trace.write_text("\n".join(["; MaxProcs: 8", *jobs, ""]))
    played = play(folder, trace, [EASY, MATCH, UNRESERVED])
    yardstick = typed(folder, trace, 2)
    table(report, [yardstick, *played.rows.values()])
    against(report, "tiny", played.rows[MATCH], yardstick, {"wait_mean_s": 1.0})


def measure(report: Report, folder: Path, settings: argparse.Namespace) -> None:
    """The traces, as far as they are there."""
    if settings.quick:
        tiny(report, folder)
        return
    for name, part in ((METACENTRUM, metacentrum), (ALIBABA, alibaba)):
        trace = settings.traces / name if settings.traces is not None else None
        if trace is None or not trace.exists():
            print(f"left out: {name}; give --traces FOLDER, or WLMCTL_TRACES, with it and its list of machines")
        elif settings.only in part.__name__:
            part(report, folder, trace, settings.runs)


if __name__ == "__main__":
    sys.exit(options.run(measure, __doc__ or ""))
