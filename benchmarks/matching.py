"""How long match-making takes to decide, and how much more it places than the prototype's greedy.

    python -m benchmarks.matching [--quick] [--runs N] [--only PART]

Instances: classes of tasks and of workers, their sizes by Zipf's law (exponent 1 and 1/2), each class of tasks done by
1 to 25 % of the workers, 1 to 16 slots a worker. Times are of the process: from a snapshot to a decision, in which the
worker of each task is settled, and to make each single assignment of it, as the core does. "prototype" takes the tasks
in random order, gives each a random able worker that has a free slot left, and never moves one again. "best fit" takes
them in order of submission, each to the node with the least left over of its cpus and memory.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import options
from benchmarks.figures import Report, Spread
from wlmctl.machine import Requirement
from wlmctl.plugins import scheduler_factory
from wlmctl.scheduler import Group, MachineView, Scheduler, Snapshot, UnboundRole, WorkerView
from wlmctl.task import Resources

BANDS = 5


@dataclass(frozen=True, slots=True)
class Size:
    """Of an instance: how many of what, and by when the decision is promised (ms)."""

    name: str
    tasks: int
    workers: int
    task_classes: int
    worker_classes: int
    promised_ms: float


LARGE = Size("100,000 tasks x 10,000 workers, 50 x 40 classes", 100_000, 10_000, 50, 40, 25)
WIDE = Size("100,000 tasks x 10,000 workers, 500 x 200 classes", 100_000, 10_000, 500, 200, 350)
TINY = Size("1,000 tasks x 100 workers, 50 x 40 classes", 1_000, 100, 50, 40, 25)


def instance(size: Size, seed: int) -> Snapshot:
    """Groups of every task class in every band, and workers, as a core would show them."""
    draw = random.Random(seed)
    per_task = _zipf(size.tasks, size.task_classes, 1.0, draw)
    per_worker = _zipf(size.workers, size.worker_classes, 0.5, draw)
    can: list[set[str]] = [set() for _ in per_worker]
    for number in range(size.task_classes):
        wanted = size.workers * draw.uniform(0.01, 0.2)
        reached = 0
        for chosen in draw.sample(range(size.worker_classes), size.worker_classes):
            if reached and reached + per_worker[chosen] > size.workers * 0.25:
                continue
            can[chosen].add(f"t{number}")
            reached += per_worker[chosen]
            if reached >= wanted:
                break
    machines = frozenset({"m"})
    workers = list[WorkerView]()
    for types, count in zip(map(frozenset, can), per_worker, strict=True):
        workers += [
            WorkerView(f"w{len(workers) + more:05}", types, machines, draw.randint(1, 16)) for more in range(count)
        ]
    groups = list[Group]()
    for number, count in enumerate(per_task):
        cuts = sorted(draw.randint(0, count) for _ in range(BANDS - 1))
        for band, (first, last) in enumerate(zip([0, *cuts], [*cuts, count], strict=True)):
            if first < last:
                tasks = tuple(f"{number}.{task}" for task in range(first, last))
                groups.append(
                    Group(f"g{number}-{band}", f"e{number}", f"t{number}", tasks, None, priority=band, order=number)
                )
    draw.shuffle(workers)
    return Snapshot(0.0, seed, groups, workers, {})


def _zipf(total: int, classes: int, exponent: float, draw: random.Random) -> list[int]:
    weights = [1 / (rank + 1) ** exponent for rank in range(classes)]
    draw.shuffle(weights)
    return [max(1, round(total * weight / sum(weights))) for weight in weights]


def prototype(snapshot: Snapshot, seed: int) -> int:
    """How many tasks are placed by a random able worker each, first come first served."""
    draw = random.Random(seed)
    able: Mapping[str, list[int]] = {group.type: [] for group in snapshot.groups}
    for number, worker in enumerate(snapshot.workers):
        for kind in worker.types & able.keys():
            able[kind].append(number)
    free = [worker.free_slots for worker in snapshot.workers]
    order = [group for group in snapshot.groups for _ in group.tasks]
    draw.shuffle(order)
    placed = 0
    for group in order:
        open_ = able[group.type]
        while open_:
            position = draw.randrange(len(open_))
            if free[open_[position]]:
                free[open_[position]] -= 1
                placed += 1
                break
            open_[position] = open_[-1]
            open_.pop()
    return placed


#: Nodes of the instances with several resources: cpus, GiB of memory, gpus.
SHAPES = ((8, 32, 0), (16, 64, 0), (32, 128, 0), (48, 96, 2), (64, 256, 0), (64, 512, 4), (96, 384, 0), (128, 1024, 8))


def nodes_instance(tasks: int, nodes: int, seed: int) -> Snapshot:
    """Fifty kinds of tasks that ask for cpus, memory and gpus of any node, of two users, on empty nodes of 8 shapes."""
    draw = random.Random(seed)
    machines = dict[str, MachineView]()
    for number in range(nodes):
        name, (cpus, memory, gpus) = f"n{number:05}", draw.choice(SHAPES)
        machines[name] = MachineView(name, (), cpus, memory, gpus, cpus, memory, gpus)
    groups = list[Group]()
    for number, count in enumerate(_zipf(tasks, 50, 0.5, draw)):
        asked = Resources(
            draw.choice((1, 2, 4, 8, 16, 32)), draw.choice((1, 4, 16, 64, 128)), draw.choice((0, 0, 0, 1, 2))
        )
        names = tuple(f"{number}.{task}" for task in range(count))
        groups.append(
            Group(
                f"g{number}", f"e{number}", "job", names, None, (), None, asked, order=number, anywhere=Requirement(),
                user=draw.choice("ab"),
            )
        )  # fmt: skip
    worker = WorkerView("w", frozenset({"job"}), frozenset(machines), tasks)
    return Snapshot(0.0, seed, groups, (worker,), machines)


def best_fit(snapshot: Snapshot) -> int:
    """How many tasks are placed, in order of submission, each on the node with the least left over."""
    left = [
        [view.free_cpus or 0, view.free_memory_bytes or 0, view.free_gpus or 0] for view in snapshot.machines.values()
    ]
    whole = [tuple(each) for each in left]
    placed = 0
    for group in snapshot.groups:
        cpus, memory, gpus = group.resources.cpus, group.resources.memory_bytes, group.resources.gpus
        for _ in group.tasks:
            fits = [
                ((has[0] - cpus) / whole[node][0] + (has[1] - memory) / whole[node][1], node)
                for node, has in enumerate(left)
                if has[0] >= cpus and has[1] >= memory and has[2] >= gpus
            ]
            if not fits:
                break
            node = min(fits)[1]
            left[node] = [has - asked for has, asked in zip(left[node], (cpus, memory, gpus), strict=True)]
            placed += 1
    return placed


def most_possible(snapshot: Snapshot) -> float:
    """No answer places more tasks than this, by which equal nodes are as one and tasks can be split."""
    from wlmctl_scheduler_matchmaking.programs import Program

    shapes = Counter((v.free_cpus or 0, v.free_memory_bytes or 0, v.free_gpus or 0) for v in snapshot.machines.values())
    limits = [float(len(group.tasks)) for group in snapshot.groups]
    program = Program([*limits, *(amount * count for shape, count in shapes.items() for amount in shape)])
    for number, shape in enumerate(shapes):
        for row, group in enumerate(snapshot.groups):
            asked = group.resources.cpus, group.resources.memory_bytes, group.resources.gpus
            if all(each <= there for each, there in zip(asked, shape, strict=True)):
                first = len(limits) + 3 * number
                program.add(1.0, [(row, 1), *((first + kind, each) for kind, each in enumerate(asked) if each)])
    solved = program.solve(1_000_000)
    assert solved is not None
    return sum(solved.amounts)


def pack(report: Report, tasks: int, nodes: int, seeds: Iterable[int]) -> None:
    """The table of tasks with several resources."""
    report.title(f"Match-making: {tasks:,} tasks x {nodes:,} nodes with cpus, memory and gpus")
    rows, more, took, parts = list[Sequence[object]](), Spread(), Spread(), Spread()
    for seed in seeds:
        snapshot = nodes_instance(tasks, nodes, seed)
        greedy_ms, _, greedy = decide(scheduler_factory("matchmaking")({"solver": "python"}), snapshot)
        packing = scheduler_factory("matchmaking")({})
        runs = [decide(packing, snapshot) for _ in range(3)]
        best_ms, placed = min(run[0] for run in runs), runs[0][2]
        peer, bound = best_fit(snapshot), most_possible(snapshot)
        more.values.append(100 * (placed / peer - 1))
        took.values.append(best_ms)
        parts.values.append(100 * placed / bound)
        rows.append(
            (
                seed, f"{peer:,}", f"{greedy:,}", f"{greedy_ms:.0f}", f"{placed:,}", f"{best_ms:.0f}",
                f"{more.values[-1]:.1f} %", f"{parts.values[-1]:.1f} %",
            )
        )  # fmt: skip
    columns = (
        "seed",
        "best fit",
        "greedy",
        "decided, ms",
        "packed",
        "decided, ms",
        "more than best fit",
        "of the LP bound",
    )
    report.table(columns, rows)
    report.promise("packed, more than best fit", more.median, 10, at_least=True, unit="%")
    report.promise("packed, more than best fit, the least", min(more.values), 0, at_least=True, unit="%")
    report.promise("packed, of the LP bound, the least", min(parts.values), 95, at_least=True, unit="%")
    report.promise("packed, of the LP bound (no MILP has more)", parts.median, 99, at_least=True, unit="%")
    report.promise("packed, decision", took.median, 350, unit="ms")


def near_instance(roles: int, nodes: int, seed: int) -> Snapshot:
    """Roles of one task each, which fit on 1 to 25 % of the nodes and have data on one to three of these."""
    draw = random.Random(seed)
    kinds = 50
    labels: list[list[str]] = [[] for _ in range(nodes)]
    fitting: list[list[int]] = []
    for kind in range(kinds):
        fitting.append(draw.sample(range(nodes), max(1, int(nodes * draw.uniform(0.01, 0.25)))))
        for number in fitting[-1]:
            labels[number].append(f"k{kind}")
    machines = dict[str, MachineView]()
    for number, has in enumerate(labels):
        cpus = draw.randint(1, 16)
        machines[f"n{number:05}"] = MachineView(f"n{number:05}", tuple(has), cpus, None, 0, cpus, None, 0)
    groups, unbound = list[Group](), list[UnboundRole]()
    for kind, count in enumerate(_zipf(roles, kinds, 1.0, draw)):
        requires = Requirement(labels=(f"k{kind}",))
        for number in range(count):
            key = f"e{kind}", f"r[{number}]"
            there = {
                f"n{at:05}": draw.randint(1, 1 << 40)
                for at in draw.sample(fitting[kind], min(3, draw.randint(1, 3), len(fitting[kind])))
            }
            groups.append(
                Group(f"g{kind}.{number}", key[0], "job", (f"{kind}.{number}",), None, (), key[1], order=kind)
            )
            unbound.append(UnboundRole(*key, requires, (groups[-1].id,), data_bytes=there))
    worker = WorkerView("w", frozenset({"job"}), frozenset(machines), 16 * nodes)
    return Snapshot(0.0, seed, groups, (worker,), machines, roles=unbound)


def nearest_possible(snapshot: Snapshot) -> tuple[int, int]:
    """How many roles can be placed at all, and the most data (MiB) that so many can have on their machines."""
    from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

    graph = SimpleMinCostFlow()
    places = {name: number for number, name in enumerate(snapshot.machines)}
    kinds = dict[Requirement, int]()
    source, sink = len(places), len(places) + 1
    for name, view in snapshot.machines.items():
        graph.add_arc_with_capacity_and_unit_cost(places[name], sink, view.free_cpus or 0, 0)
    for number, role in enumerate(snapshot.roles):
        if role.requires not in kinds:
            kinds[role.requires] = sink + 1 + len(snapshot.roles) + len(kinds)
            for name, view in snapshot.machines.items():
                if set(role.requires.labels) <= set(view.labels):
                    graph.add_arc_with_capacity_and_unit_cost(kinds[role.requires], places[name], len(places), 0)
        node = sink + 1 + number
        graph.add_arc_with_capacity_and_unit_cost(source, node, 1, 0)
        graph.add_arc_with_capacity_and_unit_cost(node, kinds[role.requires], 1, 0)
        for name, size_bytes in role.data_bytes.items():
            graph.add_arc_with_capacity_and_unit_cost(node, places[name], 1, -(size_bytes >> 20))
    graph.set_nodes_supplies([source, sink], [len(snapshot.roles), -len(snapshot.roles)])
    assert graph.solve_max_flow_with_min_cost() == graph.OPTIMAL
    return graph.maximum_flow(), -graph.optimal_cost()


def decide(scheduler: Scheduler, snapshot: Snapshot) -> tuple[float, float, int]:
    """Milliseconds of the process to decide, and to make the assignments; how many these are."""
    began_s = time.process_time()
    decision = scheduler.assign(snapshot)
    decided_s = time.process_time()
    count = len(list(decision.assignments))
    return (decided_s - began_s) * 1000, (time.process_time() - decided_s) * 1000, count


def measure(report: Report, folder: Path, settings: argparse.Namespace) -> None:
    """The tables of decisions."""
    del folder
    seeds = range(1, 1 + max(1, settings.runs))
    for size in [TINY] if settings.quick else [LARGE, WIDE]:
        report.title(f"Match-making: {size.name}, {BANDS} bands, prices")
        took, more, rows = Spread(), Spread(), list[Sequence[object]]()
        for seed in seeds:
            snapshot = instance(size, seed)
            scheduler = scheduler_factory("matchmaking")({})
            runs = [decide(scheduler, snapshot) for _ in range(1 if settings.quick else 5)]
            best, made, placed = min(run[0] for run in runs), min(run[1] for run in runs), runs[0][2]
            greedy = prototype(snapshot, seed)
            took.values.append(best)
            more.values.append(100 * (placed / greedy - 1))
            slots = sum(worker.free_slots for worker in snapshot.workers)
            rows.append(
                (
                    seed,
                    f"{slots:,}",
                    f"{placed:,}",
                    f"{greedy:,}",
                    f"{more.values[-1]:.1f} %",
                    f"{best:.1f}",
                    f"{made:.0f}",
                )
            )
        report.table(("seed", "slots", "placed", "prototype", "more", "decided, ms", "made, ms"), rows)
        report.promise(
            f"decision, {size.task_classes} x {size.worker_classes}", took.median, size.promised_ms, unit="ms"
        )
        if size is not WIDE:
            report.promise("more than the prototype's greedy", more.median, 6, at_least=True, unit="%")
    pack(report, *((300, 30) if settings.quick else (10_000, 1_000)), seeds)


if __name__ == "__main__":
    sys.exit(options.run(measure, __doc__ or ""))
