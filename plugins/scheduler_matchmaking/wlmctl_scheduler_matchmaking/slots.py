"""Tasks that nothing but the workers' slots can stop: who starts, and then where, by flows alone.

Which tasks start is one question and which slots they take another: any tasks that can start together can do so on any
slots that can be used together (Mendelsohn and Dulmage). So the first flow takes tasks in their order whatever slots
cost, and the second sends all of those at once, at least cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from wlmctl.scheduler import Group
from wlmctl_scheduler_matchmaking.flow import Flow
from wlmctl_scheduler_matchmaking.matching import Matching
from wlmctl_scheduler_matchmaking.order import STARVING, Bands, Shares, fair_portions

#: A number of tasks of a group, or of a demand class.
Portion = tuple[Group, int]
Demand = tuple[int, int]

#: Sends rounds of demands, the first first; how many of each were sent.
Solver = Callable[[Flow, Sequence[Sequence[Demand]]], list[list[int]]]


def start_by_slots(matching: Matching, bands: Bands, shares: Shares | None, slots: int, solver: Solver) -> None:
    """Start as many tasks as possible for every prefix of bands (level, groups), at least cost for so many."""
    served, demands = list[tuple[Sequence[Portion], list[int]]](), list[list[Demand]]()
    for portions in (portions for level, groups in bands for portions in rounds(level, groups, shares, slots)):
        numbers = [matching.demand_of(group) for group, _ in portions]
        wanted = dict.fromkeys(numbers, 0)
        for number, (_, tasks) in zip(numbers, portions, strict=True):
            wanted[number] += tasks
        served.append((portions, numbers))
        demands.append([*wanted.items()])
    priced = matching.flow
    first = Flow(priced.left, priced.prices, priced.limit)
    first.cost_alike()
    for able in priced.able:
        first.add(able)
    sent = solver(first, demands)
    for (portions, numbers), asked, counts in zip(served, demands, sent, strict=True):
        left = {demand: count for (demand, _), count in zip(asked, counts, strict=True)}
        for (group, tasks), demand in zip(portions, numbers, strict=True):
            part = tasks if tasks < left[demand] else left[demand]
            if part:
                left[demand] -= part
                matching.start(group, part, demand, group.machine)
            if part < tasks:
                matching.short[group.id] = demand
    matching.flow = _at_least_cost(first, priced, sent, demands)


def in_turn(flow: Flow, rounds: Sequence[Sequence[Demand]]) -> list[list[int]]:
    """The solver in Python: round after round."""
    return [flow.send(each) for each in rounds]


def _at_least_cost(
    first: Flow, priced: Flow, sent: Sequence[Sequence[int]], rounds: Sequence[Sequence[Demand]]
) -> Flow:
    """The flow of the same tasks to the cheapest slots; the first one where the search for it was given up."""
    totals = dict[int, int]()
    for counts, demands in zip(sent, rounds, strict=True):
        for count, (demand, _) in zip(counts, demands, strict=True):
            totals[demand] = totals.get(demand, 0) + count
    if sum(totals.values()) == sum(priced.left):
        priced.cost_alike()
    # whatever the solver was: those with the least choice first, which leaves little to move
    whole = sorted(totals.items(), key=lambda each: (priced.able[each[0]].bit_count(), each[0]))
    return priced if priced.send(whole) == [count for _, count in whole] else first


def rounds(level: int, groups: Sequence[Group], shares: Shares | None, slots: int) -> Iterator[Sequence[Portion]]:
    """What of one band is sent together, and what after that."""
    whole = [(group, len(group.tasks)) for group in groups]
    if level >= STARVING:
        yield from ([each] for each in whole)
        return
    portions = fair_portions(groups, shares, slots) if shares is not None else None
    if portions is None:
        yield whole
        return
    fair, in_order = portions
    yield [(group, fair[group.id]) for group in in_order if fair[group.id]]
    yield [(group, len(group.tasks) - fair[group.id]) for group in in_order if fair[group.id] < len(group.tasks)]
