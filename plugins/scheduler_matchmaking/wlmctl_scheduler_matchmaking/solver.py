"""Who starts, by OR-tools: the same answer as the flow's own search gives, sooner where there are many classes."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from wlmctl.errors import ConfigError
from wlmctl_scheduler_matchmaking.flow import Flow, bits
from wlmctl_scheduler_matchmaking.slots import Demand, Solver, in_turn

#: From so many pairs of a demand class and a worker class that is able on, what OR-tools saves is more than it costs.
WORTH_ARCS = 8_000

#: From so many tasks on that one decision places on machines of their own, it is worth looking for a better packing.
WORTH_TASKS = 200


def solver(name: str) -> Solver:
    """The solver of that name; ``ConfigError`` where it is not installed."""
    if name == "python":
        return in_turn
    is_there = importlib.util.find_spec("ortools") is not None
    if name == "auto":
        return by_size if is_there else in_turn
    if not is_there:
        raise ConfigError(
            "scheduler_options.solver: OR-tools is not installed, expected pip install 'wlmctl[solver]', or auto"
        )
    return at_once


def packs_from(name: str) -> int | None:
    """From how many tasks on they are packed, where a solver of that name is asked for; None: never."""
    if name == "python" or importlib.util.find_spec("highspy") is None:
        return None
    return 0 if name == "ortools" else WORTH_TASKS


def by_size(flow: Flow, rounds: Sequence[Sequence[Demand]]) -> list[list[int]]:
    """Whichever of the two is quicker: OR-tools is not imported before it is worth it."""
    arcs = sum(able.bit_count() for able in flow.able)
    return (at_once if arcs >= WORTH_ARCS else in_turn)(flow, rounds)


def at_once(flow: Flow, rounds: Sequence[Sequence[Demand]]) -> list[list[int]]:
    """All rounds by one minimum-cost flow; the flow holds what it sent.

    Demands cost their position in the order in which they are served. As the sets of tasks that can start together are
    a matroid, the cheapest of the largest is the one that serves them greedily in this order: so the costs need not
    grow by powers, and the bands come out exactly.
    """
    from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

    order = [portion for each in rounds for portion in each]
    demands, workers = len(flow.able), len(flow.left)
    source, sink = demands + workers, demands + workers + 1
    total = sum(tasks for _, tasks in order)
    asked = [0] * demands
    for demand, tasks in order:
        asked[demand] += tasks
    pairs = [(demand, worker) for demand, able in enumerate(flow.able) if asked[demand] for worker in bits(able)]
    graph = SimpleMinCostFlow()
    graph.add_arcs_with_capacity_and_unit_cost(
        [source] * len(order) + [demand for demand, _ in pairs] + [demands + worker for worker in range(workers)],
        [demand for demand, _ in order] + [demands + worker for _, worker in pairs] + [sink] * workers,
        [tasks for _, tasks in order] + [min(asked[demand], flow.left[worker]) for demand, worker in pairs] + flow.left,
        [*range(len(order))] + [0] * (len(pairs) + workers),
    )
    graph.set_nodes_supplies([source, sink], [total, -total])
    status = graph.solve_max_flow_with_min_cost()
    if status != graph.OPTIMAL:
        return in_turn(flow, rounds)
    flows = graph.flows(range(len(order) + len(pairs))).tolist()
    for (demand, worker), tasks in zip(pairs, flows[len(order) :], strict=True):
        if tasks:
            flow.hold(demand, worker, tasks)
    sent = iter(flows)
    return [[next(sent) for _ in each] for each in rounds]
