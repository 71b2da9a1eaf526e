"""A flow of most units at least cost, by OR-tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

#: Many arcs: from these nodes, to these nodes, how much they take, and the cost of a unit; one number is for all.
Arcs = tuple[Any, Any, Any, Any]


def least_cost(blocks: Sequence[Arcs], supplies: Mapping[int, int]) -> list[np.ndarray[Any, Any]] | None:
    """The flow on the arcs of each block when as many units as possible pass; None where it was given up.

    ``supplies`` are what nodes have to send, and negative where it is to arrive.
    """
    import numpy as np
    from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

    whole = [np.broadcast_arrays(*block) for block in blocks]
    tails, heads, capacities, costs = (
        np.concatenate([block[column] for block in whole]).astype(np.int64) for column in range(4)
    )
    graph = SimpleMinCostFlow()
    graph.add_arcs_with_capacity_and_unit_cost(tails, heads, capacities, costs)
    graph.set_nodes_supplies(np.fromiter(supplies.keys(), np.int64), np.fromiter(supplies.values(), np.int64))
    if graph.solve_max_flow_with_min_cost() != graph.OPTIMAL:
        return None
    flows = graph.flows(np.arange(len(tails)))
    return np.split(flows, np.cumsum([len(block[0]) for block in whole])[:-1])
