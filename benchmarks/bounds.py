"""What simple rules place of an instance of match-making, and the most that anybody could place of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping

from wlmctl.machine import Requirement
from wlmctl.scheduler import Snapshot


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
