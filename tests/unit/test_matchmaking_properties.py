"""The scheduler ``matchmaking``: what holds of every decision, beside networkx as the oracle."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import networkx
from hypothesis import given, settings
from hypothesis import strategies as st
from wlmctl_scheduler_matchmaking.flow import Flow
from wlmctl_scheduler_matchmaking.prices import worker_prices
from wlmctl_scheduler_matchmaking.workers import Fleet

from wlmctl.machine import Requirement
from wlmctl.plugins import scheduler_factory
from wlmctl.scheduler import Decision, Group, Reservation, RunningTask, Snapshot, UnboundRole, WorkerView
from wlmctl.task import Resources
from wlmctl.testing.builders import make_group, make_snapshot, make_view, make_worker, random_snapshot
from wlmctl.testing.decisions import able, problems

TYPES = ("a", "b", "c", "d")

quickly = settings(max_examples=40, deadline=None, derandomize=True)


def decide(snapshot: Snapshot, **options: Any) -> Decision:
    return scheduler_factory("matchmaking")(options).assign(snapshot)


@st.composite
def slot_snapshots(draw: st.DrawFn) -> Snapshot:
    """Groups and workers where nothing but slots can stop a task."""
    workers = [
        make_worker(
            f"w{number}",
            draw(st.integers(0, 3)),
            types=draw(st.frozensets(st.sampled_from(TYPES), min_size=1)),
            labels=draw(st.frozensets(st.sampled_from("xy"))),
        )
        for number in range(draw(st.integers(0, 5)))
    ]
    groups = [
        make_group(
            f"g{number}",
            draw(st.integers(1, 5)),
            machine=None,
            type=draw(st.sampled_from(TYPES)),
            worker_labels=draw(st.sampled_from([(), (), ("x",), ("y",)])),
            priority=draw(st.integers(3, 5)),
            user=draw(st.sampled_from([None, "ann", "bob"])),
            order=draw(st.integers(0, 3)),
        )
        for number in range(draw(st.integers(1, 7)))
    ]
    return make_snapshot(groups, workers, [])


def placed_by_band(snapshot: Snapshot, decision: Decision) -> Counter[int]:
    group_of = dict(snapshot.tasks())
    return Counter(group_of[item.task].priority for item in decision.assignments)


def max_flow(groups: Sequence[Group], workers: Sequence[WorkerView]) -> int:
    graph = networkx.DiGraph()
    graph.add_nodes_from(["ready", "busy"])
    for group in groups:
        graph.add_edge("ready", group.id, capacity=len(group.tasks))
        for worker in workers:
            if able(worker, group, group.machine):
                graph.add_edge(group.id, worker.id)
    for worker in workers:
        graph.add_edge(worker.id, "busy", capacity=worker.free_slots)
    return int(networkx.maximum_flow_value(graph, "ready", "busy"))


@quickly
@given(slot_snapshots())
def test_of_every_prefix_of_bands_as_many_are_placed_as_a_maximum_flow_has(snapshot: Snapshot) -> None:
    decision = decide(snapshot)
    assert problems(snapshot, decision) == []
    placed = placed_by_band(snapshot, decision)
    for lowest in sorted({group.priority for group in snapshot.groups}):
        upper = [group for group in snapshot.groups if group.priority >= lowest]
        assert sum(placed[group_priority] for group_priority in range(lowest, 10)) == max_flow(upper, snapshot.workers)


@quickly
@given(slot_snapshots())
def test_a_lower_band_never_changes_how_many_of_a_higher_one_are_placed(snapshot: Snapshot) -> None:
    lowest = min(group.priority for group in snapshot.groups)
    upper = [group for group in snapshot.groups if group.priority > lowest]
    alone = replace(snapshot, groups=tuple(upper))
    both, without = placed_by_band(snapshot, decide(snapshot)), placed_by_band(alone, decide(alone))
    assert {band: both[band] for band in without} == without


@quickly
@given(slot_snapshots(), st.sampled_from(TYPES), st.integers(1, 3))
def test_one_more_worker_never_means_fewer_tasks(snapshot: Snapshot, type_: str, slots: int) -> None:
    more = replace(snapshot, workers=(*snapshot.workers, make_worker("new", slots, types=frozenset({type_}))))
    assert len(decide(more).assignments) >= len(decide(snapshot).assignments)


@quickly
@given(slot_snapshots())
def test_of_a_band_those_are_placed_that_take_the_cheapest_slots(snapshot: Snapshot) -> None:
    one_band = replace(snapshot, groups=tuple(replace(each, priority=4, user=None) for each in snapshot.groups))
    fleet = Fleet(one_band.workers)
    demands = [
        (fleet.able(group.type, group.worker_labels, group.touches), len(group.tasks)) for group in one_band.groups
    ]
    prices = worker_prices(fleet, [demand for demand in demands if demand[0]])
    price_of = {worker: price for found, price in zip(fleet.classes, prices, strict=True) for worker in found.free}
    graph = networkx.DiGraph()
    for group in one_band.groups:
        graph.add_edge("ready", group.id, capacity=len(group.tasks), weight=0)
        for worker in one_band.workers:
            if able(worker, group, group.machine):
                graph.add_edge(group.id, worker.id, capacity=100, weight=price_of[worker.id])
    for worker in one_band.workers:
        graph.add_edge(worker.id, "busy", capacity=worker.free_slots, weight=0)
    graph.add_node("busy")
    cheapest = networkx.cost_of_flow(graph, networkx.max_flow_min_cost(graph, "ready", "busy"))
    decision = decide(one_band)
    if all(item.worker is not None for item in decision.assignments):  # else any of equal ones will do
        assert sum(price_of[str(item.worker)] for item in decision.assignments) == cheapest


@quickly
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_the_answer_does_not_depend_on_the_order_of_the_input(seed: int, draw: random.Random) -> None:
    snapshot = random_snapshot(seed)

    def shuffled(items: Sequence[Any]) -> list[Any]:
        return draw.sample(list(items), len(items))

    other = replace(
        snapshot,
        groups=shuffled(snapshot.groups),
        workers=shuffled(snapshot.workers),
        machines=dict(shuffled(list(snapshot.machines.items()))),
        roles=shuffled(snapshot.roles),
    )
    assert decide(other) == decide(snapshot)


@quickly
@given(st.integers(0, 10_000), st.integers(0, 3), st.booleans())
def test_no_decision_is_one_that_the_core_refuses_at_any_age(seed: int, hours: int, fair: bool) -> None:
    snapshot = random_snapshot(seed)
    aged = replace(
        snapshot,
        groups=tuple(
            replace(group, age_s=group.age_s * 100 * hours, user=("ann", "bob", None)[number % 3])
            for number, group in enumerate(snapshot.groups)
        ),
    )
    decision = decide(aged, fair=fair)
    assert problems(aged, decision) == []
    placed = Counter(item.task for item in decision.assignments)
    for group in aged.groups:
        if any(not placed[task] for task in group.tasks):
            assert decision.reasons[group.id].text


@quickly
@given(slot_snapshots(), st.integers(0, 20))
def test_at_its_limit_the_search_gives_up_and_the_decision_is_still_legal(snapshot: Snapshot, steps: int) -> None:
    decision, whole = decide(snapshot, steps=steps), decide(snapshot)
    assert problems(snapshot, decision) == []
    assert len(decision.assignments) <= len(whole.assignments) <= 2 * len(decision.assignments)


@st.composite
def machine_snapshots(draw: st.DrawFn) -> Snapshot:
    """Tasks that choose their machines, with several resources and nodes, counters, roles, and what runs already."""
    labels = st.sampled_from([(), (), ("x",), ("x", "y")])
    amounts = st.integers(0, 8)
    views = [
        make_view(
            name, 8, free_cpus=draw(amounts), memory_bytes=16, free_memory_bytes=draw(st.integers(0, 16)),
            gpus=2, free_gpus=draw(st.integers(0, 2)), labels=draw(labels), queueing=draw(st.integers(0, 5)) == 0,
            held=draw(st.integers(0, 6)) == 0, jobs_left=draw(st.sampled_from([None, None, 2])),
        )
        for name in "abcd"[: draw(st.integers(1, 4))]
    ]  # fmt: skip
    names = frozenset(view.name for view in views)
    workers = [
        make_worker(f"w{number}", draw(st.integers(0, 6)), machines=draw(st.sampled_from([names, frozenset("a")])))
        for number in range(draw(st.integers(1, 2)))
    ]
    groups, roles = list[Group](), list[UnboundRole]()
    for number in range(draw(st.integers(1, 6))):
        name, is_role = f"g{number}", draw(st.integers(0, 3)) == 0
        requires = Requirement(labels=draw(labels))
        group = make_group(
            name, draw(st.integers(1, 4)), machine=None, anywhere=None if is_role else requires,
            unbound="r" if is_role else None, priority=draw(st.integers(3, 5)), order=number,
            resources=Resources(
                draw(st.integers(1, 8)), draw(st.integers(0, 8)), draw(st.integers(0, 1)),
                1 if is_role else draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from([None, 60.0, 9999.0])),
            ),
            age_s=draw(st.sampled_from([0.0, 4000.0, 90_000.0])), user=draw(st.sampled_from([None, "ann", "bob"])),
            counters=draw(st.sampled_from([(), (), (("licence", 1),)])),
            may_start=draw(st.sampled_from([None, None, 2])),
        )  # fmt: skip
        groups.append(group)
        if is_role:
            roles.append(UnboundRole(group.experiment, "r", requires, (name,)))
    running = [
        RunningTask(f"r{view.name}", view.name, "w0", Resources(8 - (view.free_cpus or 0)), draw(ends))
        for view in views
        for ends in [st.sampled_from([None, 1_700_000_100.0])]
    ]
    kept = draw(st.sampled_from([(), (Reservation("g0/1", "a", None),)]))
    return make_snapshot(
        groups, workers, views, roles=tuple(roles), running=running, counters={"licence": 2}, reservations=kept,
    )  # fmt: skip


@quickly
@given(machine_snapshots(), st.randoms(use_true_random=False))
def test_no_capacity_is_exceeded_in_any_dimension_and_all_that_wait_are_told_why(
    snapshot: Snapshot, draw: random.Random
) -> None:
    decision = decide(snapshot)
    assert problems(snapshot, decision) == []
    groups = dict(snapshot.tasks())
    started = [groups[item.task] for item in decision.assignments]
    assert sum(amount for group in started for _, amount in group.counters) <= 2
    placed = {item.task for item in decision.assignments}
    for group in snapshot.groups:
        assert placed.issuperset(group.tasks) or decision.reasons[group.id].text
    for item in decision.assignments:
        assert len(item.more) == groups[item.task].resources.nodes - 1
    machines = list(snapshot.machines.items())
    other = replace(
        snapshot,
        groups=draw.sample(list(snapshot.groups), len(snapshot.groups)),
        workers=draw.sample(list(snapshot.workers), len(snapshot.workers)),
        machines=dict(draw.sample(machines, len(machines))),
        running=draw.sample(list(snapshot.running), len(snapshot.running)),
    )
    assert decide(other) == decision


@quickly
@given(machine_snapshots())
def test_what_starts_does_not_delay_the_task_that_a_machine_is_kept_for(snapshot: Snapshot) -> None:
    decision = decide(snapshot)
    groups = dict(snapshot.tasks())
    for kept in decision.reservations:
        view, asked = snapshot.machines[kept.machine], groups[kept.task].resources
        there = [
            groups[item.task].resources for item in decision.assignments if kept.machine in (item.machine, *item.more)
        ]
        if kept.from_s is None:
            assert there == [], "it is drained"
            continue
        until_s = kept.from_s - snapshot.now_s
        late = sum(each.cpus for each in there if each.walltime_s is None or each.walltime_s > until_s)
        ended = sum(
            each.resources.cpus
            for each in snapshot.running
            if each.machine == view.name and each.expected_end_s is not None and each.expected_end_s <= kept.from_s
        )
        assert (view.free_cpus or 0) + ended - late >= asked.cpus


@st.composite
def transports(draw: st.DrawFn) -> tuple[list[int], list[int], list[int], list[list[tuple[int, int]]]]:
    workers = draw(st.integers(1, 5))
    slots = draw(st.lists(st.integers(0, 5), min_size=workers, max_size=workers))
    prices = draw(st.lists(st.integers(0, 3), min_size=workers, max_size=workers))
    able_ = draw(st.lists(st.integers(0, (1 << workers) - 1), min_size=1, max_size=6))
    bands = draw(
        st.lists(
            st.lists(
                st.tuples(st.integers(0, len(able_) - 1), st.integers(1, 5)),
                unique_by=lambda each: each[0],
                min_size=1,
            ),
            min_size=1,
            max_size=3,
        )
    )
    return slots, prices, able_, bands


@settings(max_examples=100, deadline=None, derandomize=True)
@given(transports())
def test_the_flow_is_the_cheapest_of_those_with_most_tasks_band_after_band(
    problem: tuple[list[int], list[int], list[int], list[list[tuple[int, int]]]],
) -> None:
    slots, prices, able_, bands = problem
    flow = Flow(slots, prices, limit=10**9)
    for each in able_:
        flow.add(each)
    sent = [flow.send(band) for band in bands]
    for number, held in enumerate(flow.held):
        assert sum(held.values()) + flow.left[number] == slots[number]
        assert all(able_[demand] >> number & 1 for demand in held)
    for demand in range(len(able_)):
        assert sum(held.get(demand, 0) for held in flow.held) == sum(
            count
            for band, counts in zip(bands, sent, strict=True)
            for (each, _), count in zip(band, counts, strict=True)
            if each == demand
        )
    cost = sum(prices[number] * sum(held.values()) for number, held in enumerate(flow.held))
    assert ([sum(counts) for counts in sent], cost) == by_big_costs(slots, prices, able_, bands)


def by_big_costs(
    slots: list[int], prices: list[int], able_: list[int], bands: list[list[tuple[int, int]]]
) -> tuple[list[int], int]:
    """How many of each band, and at which cost, by one minimum-cost flow that rewards a band more than all below."""
    graph, total = networkx.DiGraph(), sum(tasks for band in bands for _, tasks in band)
    for level, band in enumerate(bands):
        for demand, tasks in band:
            graph.add_edge("ready", (level, demand), capacity=tasks, weight=-(1000 ** (len(bands) - level)))
            for number, price in enumerate(prices):
                if able_[demand] >> number & 1:
                    graph.add_edge((level, demand), number, capacity=total, weight=price)
    for number, count in enumerate(slots):
        graph.add_edge(number, "busy", capacity=count, weight=0)
    graph.add_edge("ready", "busy", capacity=total, weight=0)
    graph.add_node("ready", demand=-total)
    graph.add_node("busy", demand=total)
    flow = networkx.min_cost_flow(graph)
    counts = [sum(flow["ready"][level, demand] for demand, _ in band) for level, band in enumerate(bands)]
    cost = sum(
        tasks * graph[node][number]["weight"]
        for node, out in flow.items()
        if isinstance(node, tuple)
        for number, tasks in out.items()
    )
    return counts, cost


@quickly
@given(st.integers(0, 10_000), st.integers(2, 8))
def test_every_feasible_task_starts_in_bounded_time_when_capacity_recurs(seed: int, cpus: int) -> None:
    """A task that needs the whole machine, against a stream of small ones of a higher priority and other users."""
    draw = random.Random(seed)
    hour_s, big = 3600.0, make_group("big", resources=Resources(cpus), priority=1, order=1, user="ann")
    running: list[tuple[float, int]] = []  # when it ends, how many cpus it holds
    for hour in range(60):
        now_s = hour * hour_s
        running = [each for each in running if each[0] > now_s]
        free = cpus - sum(count for _, count in running)
        small = [
            make_group(f"s{hour}-{n}", 3, resources=Resources(1), priority=9, order=hour + 2, user="bob")
            for n in range(2)
        ]
        snapshot = make_snapshot(
            [replace(big, age_s=now_s), *small], [make_worker(free_slots=50)], [make_view(cpus=cpus, free_cpus=free)],
            now_s=now_s,
        )  # fmt: skip
        decision = decide(snapshot)
        assert problems(snapshot, decision) == []
        if any(item.task == "big/1" for item in decision.assignments):
            return
        running += [(now_s + draw.randint(1, 4) * hour_s, 1) for _ in decision.assignments]
    raise AssertionError("the big task has not started in 60 hours")


@quickly
@given(st.integers(0, 10_000))
def test_in_one_slot_for_all_a_task_of_the_lowest_priority_has_its_turn(seed: int) -> None:
    draw = random.Random(seed)
    for hour in range(60):
        low = make_group("low", priority=0, order=5, age_s=hour * 3600.0, user="ann")
        stream = [
            make_group(f"h{hour}-{n}", 2, priority=draw.randint(5, 9), order=10 + hour, user="bob") for n in range(3)
        ]
        snapshot = make_snapshot([low, *stream], [make_worker(free_slots=1)], [make_view(cpus=None)])
        if [item.task for item in decide(snapshot).assignments] == ["low/1"]:
            return
    raise AssertionError("the task of the lowest priority has not started in 60 hours")


def test_slots_that_few_seek_are_taken_first_also_where_cost_does_not_count_so_that_nothing_has_to_move() -> None:
    flow = Flow([1, 1], [7, 0], limit=100)
    flow.cost_alike()
    anywhere, only_first = flow.add(0b11), flow.add(0b01)
    assert flow.send([(anywhere, 1), (only_first, 1)]) == [1, 1]
    assert flow.held == [{only_first: 1}, {anywhere: 1}]
    assert flow.steps == 0
