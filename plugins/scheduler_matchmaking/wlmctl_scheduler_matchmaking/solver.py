"""Who starts, by OR-tools: the same answer as the flow's own search gives."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from wlmctl.errors import ConfigError
from wlmctl_scheduler_matchmaking.flow import Flow
from wlmctl_scheduler_matchmaking.mincost import least_cost
from wlmctl_scheduler_matchmaking.slots import Demand, Solver, in_turn

#: From so many pairs of a demand class and a worker class that is able on, OR-tools is asked: up to there the flow's
#: own search was the quicker one wherever it was measured.
WORTH_ARCS = 1_000_000

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
    """By OR-tools from a size on: it is not imported before."""
    arcs = sum(able.bit_count() for able in flow.able)
    return (at_once if arcs >= WORTH_ARCS else in_turn)(flow, rounds)


def at_once(flow: Flow, rounds: Sequence[Sequence[Demand]]) -> list[list[int]]:
    """All rounds by one minimum-cost flow; the flow holds what it sent.

    Demands cost their position in the order in which they are served. As the sets of tasks that can start together are
    a matroid, the cheapest of the largest is the one that serves them greedily in this order: so the costs need not
    grow by powers, and the bands come out exactly.
    """
    order = [portion for each in rounds for portion in each]
    if not order or not flow.left:
        return in_turn(flow, rounds)
    import numpy as np

    numbers, tasks = np.array(order, dtype=np.int64).reshape(-1, 2).T
    asked = np.bincount(numbers, tasks, len(flow.able)).astype(np.int64)
    left = np.array(flow.left, dtype=np.int64)
    width = -(-len(left) // 8)
    masks = b"".join([able.to_bytes(width, "little") for able in flow.able])
    can = np.unpackbits(np.frombuffer(masks, np.uint8).reshape(-1, width), axis=1, bitorder="little")
    demand, worker = np.nonzero(can * (asked > 0)[:, None])
    workers = len(asked) + np.arange(len(left))
    source, sink = len(asked) + len(left), len(asked) + len(left) + 1
    flows = least_cost(
        (
            (source, numbers, tasks, np.arange(len(order))),
            (demand, workers[worker], np.minimum(asked[demand], left[worker]), 0),
            (workers, sink, left, 0),
        ),
        {source: int(asked.sum()), sink: -int(asked.sum())},
    )
    if flows is None:
        return in_turn(flow, rounds)
    started, moved, _ = flows
    used = np.flatnonzero(moved)
    for of_demand, at, count in zip(demand[used].tolist(), worker[used].tolist(), moved[used].tolist(), strict=True):
        flow.hold(of_demand, at, count)
    sent = iter(started.tolist())
    return [[next(sent) for _ in each] for each in rounds]
