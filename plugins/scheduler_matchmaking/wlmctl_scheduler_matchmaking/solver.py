"""Who starts, by OR-tools: the same answer as the flow's own search gives, sooner where there are many classes."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from wlmctl.errors import ConfigError
from wlmctl_scheduler_matchmaking.flow import Flow, bits
from wlmctl_scheduler_matchmaking.mincost import Arc, least_cost
from wlmctl_scheduler_matchmaking.slots import Demand, Solver, in_turn

#: From so many pairs of a demand class and a worker class that is able on, what OR-tools saves is more than it costs.
WORTH_ARCS = 8_000

#: From so many tasks on that one decision places on machines of their own, it is worth looking for a better packing.
WORTH_TASKS = 200


def solver(name: str) -> Solver:
    """Who starts, by the solver of that name; ``ConfigError`` where it is not installed."""
    if name == "python" or (name == "auto" and not _is_installed()):
        return in_turn
    if not _is_installed():
        raise ConfigError(
            "scheduler_options.solver: ortools is not installed, expected pip install 'wlmctl[solver]', or auto"
        )
    return by_size if name == "auto" else at_once


def packs_from(name: str) -> int | None:
    """From how many tasks on they are packed, where a solver of that name is asked for; None: never."""
    if name == "python" or not _is_installed():
        return None
    return WORTH_TASKS if name == "auto" else 0


def _is_installed() -> bool:
    return all(importlib.util.find_spec(each) is not None for each in ("highspy", "ortools"))


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
    order = [portion for each in rounds for portion in each]
    demands, workers = len(flow.able), len(flow.left)
    source, sink = demands + workers, demands + workers + 1
    total = sum(tasks for _, tasks in order)
    asked = [0] * demands
    for demand, tasks in order:
        asked[demand] += tasks
    pairs = [(demand, worker) for demand, able in enumerate(flow.able) if asked[demand] for worker in bits(able)]
    arcs: list[Arc] = [(source, demand, tasks, number) for number, (demand, tasks) in enumerate(order)]
    arcs += [(demand, demands + worker, min(asked[demand], flow.left[worker]), 0) for demand, worker in pairs]
    arcs += [(demands + worker, sink, slots, 0) for worker, slots in enumerate(flow.left)]
    flows = least_cost(arcs, source, sink, total)
    if flows is None:
        return in_turn(flow, rounds)
    for (demand, worker), tasks in zip(pairs, flows[len(order) :], strict=False):
        if tasks:
            flow.hold(demand, worker, tasks)
    sent = iter(flows)
    return [[next(sent) for _ in each] for each in rounds]
