"""A flow of most units at least cost, by OR-tools."""

from __future__ import annotations

from collections.abc import Sequence

#: From a node, to a node, how much it takes, and the cost of a unit.
Arc = tuple[int, int, int, int]


def least_cost(arcs: Sequence[Arc], source: int, sink: int, supply: int) -> list[int] | None:
    """The flow on each arc when as many of ``supply`` units as possible pass; None where it was given up."""
    if not arcs:
        return []
    from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

    graph = SimpleMinCostFlow()
    graph.add_arcs_with_capacity_and_unit_cost(*map(list, zip(*arcs, strict=True)))
    graph.set_nodes_supplies([source, sink], [supply, -supply])
    if graph.solve_max_flow_with_min_cost() != graph.OPTIMAL:
        return None
    flows: list[int] = graph.flows(range(len(arcs))).tolist()
    return flows
