"""How long match-making takes to decide, how much more it places than greedy rules, and what the extra ``solver`` adds.

    python -m benchmarks.matching [--quick] [--seeds N] [--only PART]

Parts: slots, solver, pack, near, hosts. Times are of the process: from a snapshot to a decision, in which the worker
of each task is settled, and to make each single assignment and binding of it, as the core does. "prototype" takes the
tasks in random order, gives each a random able worker that has a free slot left, and never moves one again. "best fit"
takes them in order of submission, each to the node with the least left over of its cpus and memory.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

from wlmctl_scheduler_matchmaking import scheduler as plugin
from wlmctl_scheduler_matchmaking.slots import start_by_slots

from benchmarks import options
from benchmarks.bounds import best_fit, most_possible, nearest_possible, prototype
from benchmarks.figures import Report, Spread
from benchmarks.instances import (
    BANDS,
    LARGE,
    MIDDLE,
    TINY,
    WIDE,
    hosts_instance,
    instance,
    near_instance,
    nodes_instance,
)
from wlmctl.plugins import scheduler_factory
from wlmctl.role_classes import apart
from wlmctl.scheduler import Decision, Snapshot


class Decided:
    """The quickest of some decisions: milliseconds of the process to decide, of these for the flows by slots, and to
    make the assignments and bindings.
    """

    def __init__(self, snapshot: Snapshot, runs: int, **settings: Any) -> None:
        self.decide_ms = self.flows_ms = self.make_ms = float("inf")
        scheduler = scheduler_factory("matchmaking")(settings)
        for _ in range(runs):
            flows = Spread()
            with patch.object(plugin, "start_by_slots", _timed(start_by_slots, flows)):
                began_s = time.process_time()
                decision = scheduler.assign(snapshot)
                decided_s = time.process_time()
            self.decision: Decision = decision  # the one before is let go of when the time is taken
            self.placed = len(list(self.decision.assignments))
            list(self.decision.bindings)
            self.make_ms = min(self.make_ms, 1000 * (time.process_time() - decided_s))
            self.decide_ms = min(self.decide_ms, 1000 * (decided_s - began_s))
            self.flows_ms = min(self.flows_ms, sum(flows.values))


def _timed(function: Any, spread: Spread) -> Any:
    def timed(*arguments: Any) -> None:
        began_s = time.process_time()
        function(*arguments)
        spread.values.append(1000 * (time.process_time() - began_s))

    return timed


def slots(report: Report, seeds: Iterable[int], is_quick: bool) -> None:
    """Decisions in pure Python by slots alone, beside the prototype's greedy."""
    for size in [TINY] if is_quick else [LARGE, WIDE]:
        report.title(f"Match-making: {size.name}, {BANDS} bands, prices")
        took, more, rows = Spread(), Spread(), list[Sequence[object]]()
        for seed in seeds:
            snapshot = instance(size, seed)
            found = Decided(snapshot, 5, solver="python")
            greedy = prototype(snapshot, seed)
            there = sum(worker.free_slots for worker in snapshot.workers)
            took.values.append(found.decide_ms)
            more.values.append(100 * (found.placed / greedy - 1))
            rows.append(
                (
                    seed, f"{there:,}", f"{found.placed:,}", f"{greedy:,}", f"{more.values[-1]:.1f} %",
                    f"{found.decide_ms:.1f}", f"{found.make_ms:.0f}",
                )
            )  # fmt: skip
        report.table(("seed", "slots", "placed", "prototype", "more", "decided, ms", "made, ms"), rows)
        classes = f"{size.task_classes} x {size.worker_classes}"
        report.promise(f"decision, {classes}", took.median, size.promised_ms, unit="ms")
        if size is not WIDE:
            report.promise("more than the prototype's greedy", more.median, 6, at_least=True, unit="%")


def solver(report: Report, seeds: Iterable[int], is_quick: bool) -> None:
    """The same decisions in Python alone, by OR-tools whatever the size, and by whichever is quicker (``auto``)."""
    size = TINY if is_quick else WIDE
    report.title(f"Match-making with the extra: {size.name}, {BANDS} bands, prices")
    rows, flows, whole = list[Sequence[object]](), Spread(), Spread()
    for seed in seeds:
        snapshot = instance(size, seed)
        found = [Decided(snapshot, 5, solver=name) for name in ("python", "ortools", "auto")]
        first, *others = [list(each.decision.assignments) for each in found]
        flows.values.append(found[1].flows_ms)
        whole.values.append(found[-1].decide_ms)
        times = [found[0].flows_ms, found[1].flows_ms, *[each.decide_ms for each in found]]
        is_same = all(first == each for each in others)
        rows.append((seed, *[f"{time_ms:.0f}" for time_ms in times], "yes" if is_same else "NO"))
    columns = ("seed", "flows, ms", "by OR-tools", "decided, ms", "by OR-tools", "auto", "the same assignments")
    report.table(columns, rows)
    report.promise("flows by OR-tools", flows.median, 30, unit="ms")
    report.promise("whole decision with the extra (auto)", whole.median, 30, unit="ms")


def pack(report: Report, seeds: Iterable[int], is_quick: bool) -> None:
    """Tasks with several resources, by greedy and by patterns."""
    tasks, nodes = (300, 30) if is_quick else (10_000, 1_000)
    report.title(f"Match-making: {tasks:,} tasks x {nodes:,} nodes with cpus, memory and gpus")
    rows, more, took, parts = list[Sequence[object]](), Spread(), Spread(), Spread()
    for seed in seeds:
        snapshot = nodes_instance(tasks, nodes, seed)
        greedy, packed = Decided(snapshot, 3, solver="python"), Decided(snapshot, 3, solver="ortools")
        peer = best_fit(snapshot)
        more.values.append(100 * (packed.placed / peer - 1))
        took.values.append(packed.decide_ms)
        parts.values.append(100 * packed.placed / most_possible(snapshot))
        rows.append(
            (
                seed, f"{peer:,}", f"{greedy.placed:,}", f"{greedy.decide_ms:.0f}", f"{packed.placed:,}",
                f"{packed.decide_ms:.0f}", f"{more.values[-1]:.1f} %", f"{parts.values[-1]:.2f} %",
            )
        )  # fmt: skip
    columns = ("seed", "best fit", "greedy", "ms", "packed", "ms", "more than best fit", "of the LP bound")
    report.table(columns, rows)
    report.promise("packed, more than best fit", more.median, 10, at_least=True, unit="%")
    report.promise("packed, more than best fit, the least", min(more.values), 0, at_least=True, unit="%")
    report.promise("packed, of the LP bound (no MILP places more)", min(parts.values), 99, at_least=True, unit="%")
    report.promise("packed, decision", max(took.values), 350, unit="ms")


def near(report: Report, seeds: Iterable[int], is_quick: bool) -> None:
    """Open roles that have data on some machines, one after the other and together."""
    for roles, nodes in ((100, 10),) if is_quick else ((1_000, 100), (10_000, 1_000)):
        report.title(f"Match-making: {roles:,} open roles x {nodes:,} machines, with data on one to three of them")
        rows, took, parts, less = list[Sequence[object]](), Spread(), Spread(), Spread()
        for seed in seeds:
            snapshot = near_instance(roles, nodes, seed)
            greedy, flow = Decided(snapshot, 3, solver="python"), Decided(snapshot, 3, solver="ortools")
            most, most_mib = nearest_possible(snapshot)
            local = [100 * _local_mib(snapshot, each.decision) / most_mib for each in (greedy, flow)]
            took.values.append(flow.decide_ms)
            parts.values.append(local[1])
            less.values.append(most - flow.placed)
            rows.append(
                (
                    seed, f"{most:,}", f"{greedy.placed:,}", f"{local[0]:.0f} %", f"{greedy.decide_ms:.0f}",
                    f"{flow.placed:,}", f"{local[1]:.1f} %", f"{flow.decide_ms:.0f}",
                )
            )  # fmt: skip
        columns = ("seed", "most", "one by one", "of the data", "ms", "together", "of the data", "ms")
        report.table(columns, rows)
        report.promise("of the data of the exact optimum", min(parts.values), 88, at_least=True, unit="%")
        report.promise("fewer placed than the most", max(less.values), 0, unit="roles")
        report.promise("decision", took.median, 120, unit="ms")


def hosts(report: Report, seeds: Iterable[int], is_quick: bool) -> None:
    """Tasks with one to three preferred hosts each: every one is a role of its own that may be bound to a machine."""
    for size, share in ((TINY, 1.0),) if is_quick else ((MIDDLE, 1.0), (MIDDLE, 0.2), (LARGE, 1.0), (LARGE, 0.2)):
        report.title(f"Match-making: {size.name}, {share:.0%} of the tasks with preferred hosts")
        rows, took, parts, less = list[Sequence[object]](), Spread(), Spread(), Spread()
        for seed in seeds:
            snapshot = hosts_instance(size, share, seed)
            found = Decided(snapshot, 3, solver="ortools")
            single = apart(snapshot).snapshot
            most, most_mib = nearest_possible(single)
            local_mib = _local_mib(single, found.decision)
            took.values.append(found.decide_ms)
            parts.values.append(100 * local_mib / most_mib)
            less.values.append(most - found.placed)
            rows.append(
                (
                    seed, f"{most:,}", f"{found.placed:,}", f"{most_mib >> 10:,}", f"{local_mib >> 10:,}",
                    f"{found.decide_ms:.0f}", f"{found.make_ms:.0f}",
                )
            )  # fmt: skip
        columns = ("seed", "most", "placed", "on a preferred host at most", "found", "decided, ms", "made, ms")
        report.table(columns, rows)
        report.promise("on a preferred host, of the exact optimum", min(parts.values), 88, at_least=True, unit="%")
        report.promise("fewer placed than the most", max(less.values), 0, unit="tasks")
        report.promise("decision", took.median, 120, unit="ms")


def _local_mib(snapshot: Snapshot, decision: Decision) -> int:
    data: Mapping[tuple[str, str], Mapping[str, int]] = {
        (role.experiment, role.role): role.data_bytes for role in snapshot.roles
    }
    return sum(data[each.experiment, each.role].get(each.machine, 0) >> 20 for each in decision.bindings)


def measure(report: Report, folder: Path, settings: argparse.Namespace) -> None:
    """The tables of decisions."""
    del folder
    seeds = range(1, 1 + max(1, settings.runs))
    for part in (slots, solver, pack, near, hosts):
        if settings.only not in part.__name__:
            continue
        if part is not slots and not all(map(find_spec, ("highspy", "ortools"))):
            print(f"left out: {part.__name__}; pip install 'wlmctl[solver]'")
        else:
            part(report, seeds, settings.quick)


if __name__ == "__main__":
    sys.exit(options.run(measure, __doc__ or ""))
