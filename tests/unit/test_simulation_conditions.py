"""Other conditions for the same workload, the figures that come of it, and the own past as a workload."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from tests.stored import NOW_S, open_database, put, template
from wlmctl import plugins
from wlmctl.errors import UsageError
from wlmctl.machine import Machine
from wlmctl.simulation.changes import capped, compressed, levels, scaled, what_if
from wlmctl.simulation.easy import Easy
from wlmctl.simulation.engine import Outcome, simulate
from wlmctl.simulation.figures import coarse_s, figures, percentile
from wlmctl.simulation.history import from_history
from wlmctl.simulation.machines_file import inventory_nodes, nodes_of
from wlmctl.simulation.workload import Job, Node, Workload, prepare

NODES = [*nodes_of("small", 8, 4, 1 << 30, 0), *nodes_of("large", 4, 16, 1 << 32, 0)]


def test_compressing_divides_the_times_between_arrivals() -> None:
    jobs = [Job(100, 1, 1), Job(120, 1, 1), Job(180, 1, 1)]
    assert [job.arrive_s for job in compressed(jobs, 2)] == [100, 110, 140]


def test_a_cap_holds_for_what_is_run_and_what_is_asked_for() -> None:
    (job, unknown) = capped([Job(0, 500, 1, walltime_s=900), Job(0, 5, 1)], 60)
    assert (job.run_s, job.walltime_s) == (60, 60)
    assert (unknown.run_s, unknown.walltime_s) == (5, None)


def test_scaling_keeps_the_mix_and_every_machine() -> None:
    assert Counter(node.machine for node in scaled(NODES, 0.5)) == {"small": 4, "large": 2}
    assert Counter(node.machine for node in scaled(NODES, 0.01)) == {"small": 1, "large": 1}
    doubled = scaled(NODES, 2)
    assert Counter(node.machine for node in doubled) == {"small": 16, "large": 8}
    assert len({node.name for node in doubled}) == 24


def test_what_rounding_takes_from_one_kind_goes_to_the_next() -> None:
    kinds = [Node(f"{kind}-{number}", "m", kind, None, 1) for kind in range(1, 17) for number in range(5)]
    assert len(scaled(kinds, 1 / 16)) == 5


def test_scaling_keeps_the_gpus_of_each_machine_as_far_as_may_be() -> None:
    nodes = [Node(f"a{number}", "a", 8, None, 8) for number in range(6)]
    nodes += [Node(f"b{number}", "a", 8, None, 1) for number in range(20)]
    nodes += [Node(f"c{number}", "c", 8, None, 8) for number in range(20)]
    found = scaled(nodes, 1 / 16)
    assert sum(node.gpus for node in found if node.machine == "a") == 5  # 68 / 16, and what the others lack
    assert sum(node.gpus for node in found if node.machine == "c") == 8  # 160 / 16, in nodes of 8


def test_what_if_changes_the_nodes_of_a_machine() -> None:
    assert {node.cpus for node in what_if(NODES, "machines.large.cpus=64") if node.machine == "large"} == {64}
    assert {node.memory_bytes for node in what_if(NODES, "machines.small.memory=2GiB")} == {2 << 30, 4 << 30}
    assert len(what_if(NODES, "machines.large.nodes=10")) == 18
    assert len(what_if(NODES, "machines.large.nodes=0")) == 8
    assert [node.gpus for node in what_if(NODES, "machines.large3.gpus=2")] == [0] * 10 + [2, 0]


def test_what_if_takes_hundreds_of_thousands_of_nodes() -> None:
    many = what_if(NODES, "machines.small.nodes=300000")
    assert sum(node.cpus == 9 for node in what_if(many, "machines.small.cpus=9")) == 300_000
    assert len(what_if(many, "machines.small.nodes=200000")) == 200_004


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cluster.cpus=1", "expected machines.NAME.KEY=VALUE, such as machines.cluster.cpus=128"),
        ("machines.cpus", "expected machines.NAME.KEY=VALUE"),
        ("machines.large.speed=2", "unknown key 'speed', expected one of nodes, cpus, memory, gpus"),
        ("machines.larg.cpus=2", "no machine 'larg' in the simulation (did you mean 'large'?)"),
        ("machines.large.cpus=0", "'0', expected a whole number of 1 to 1,000,000"),
        ("machines.large.memory=much", "'much', expected a size such as"),
    ],
)
def test_a_wrong_what_if_is_named(text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        what_if(NODES, text)
    assert told in str(caught.value)


def test_queues_get_their_priority_by_the_walltime_that_is_asked_for() -> None:
    asked = {"2h": 7200, "also": 7200, "1d": 86400, "1w": 604800}
    jobs = [Job(0, 1, 1, walltime_s=walltime_s, queue=queue) for queue, walltime_s in asked.items()]
    jobs += [Job(0, 1, 1, queue="silent"), Job(0, 1, 1, walltime_s=10_000_000, queue="1d")]
    jobs += [Job(0, 1, 1, walltime_s=86400, queue="1d")] * 2
    assert levels(jobs, {}) == {"2h": 8, "also": 8, "1d": 7, "1w": 6, "silent": 4}
    assert levels(jobs, {"silent": 9, "2h": 0})["silent"] == 9
    assert levels(jobs, {"silent": 9, "2h": 0})["2h"] == 0


def test_many_queues_share_the_levels_in_their_order() -> None:
    jobs = [Job(0, 1, 1, walltime_s=100 * number, queue=str(number)) for number in range(1, 31)]
    found = list(levels(jobs, {}).values())
    assert found == sorted(found, reverse=True)
    assert (found[0], found[-1]) == (8, 1)


def test_an_unknown_queue_is_named() -> None:
    with pytest.raises(UsageError, match=r"--queue-priority dya: no such queue in the trace \(did you mean 'day'\?\)"):
        levels([Job(0, 1, 1, queue="day")], {"dya": 3})


def test_figures_are_those_of_the_jobs_that_started() -> None:
    jobs = [Job(0, 100, 2, user="a"), Job(0, 100, 2, user="b"), Job(0, 1, 4, user="b")]
    of = prepare(Workload(jobs, nodes_of("n", 1, 4, None, 0)), levels(jobs, {}))
    found = figures("x", Outcome(of, [0.0, 50.0, None], [(0,), (0,), ()], decisions=4, spent_s=0.01))
    assert dataclasses.asdict(found) == {
        "name": "x", "jobs": 2, "wait_mean_s": 25, "wait_p50_s": 0, "wait_p95_s": 50, "wait_max_s": 50,
        "slowdown_mean": 1.25, "utilisation": round(400 / 600, 4), "makespan_s": 150,
        "user_fairness": round(2.5**2 / (2 * (1 + 1.5**2)), 3), "decision_mean_s": 0.003,
    }  # fmt: skip


def test_utilisation_is_of_gpus_where_jobs_ask_for_any() -> None:
    jobs = [Job(0, 100, 1, gpus=1)]
    of = prepare(Workload(jobs, nodes_of("n", 1, 64, None, 2)), levels(jobs, {}))
    assert figures("x", simulate(of, Easy())).utilisation == 0.5


def test_figures_without_a_start_are_none() -> None:
    jobs = [Job(0, 100, 1)]
    of = prepare(Workload(jobs, nodes_of("n", 1, 4, None, 0)), levels(jobs, {}))
    found = figures("x", Outcome(of, [None], [()]))
    assert (found.jobs, found.wait_mean_s, found.user_fairness, found.utilisation) == (0, None, None, 0.0)


@pytest.mark.parametrize(("percent", "expected"), [(50, 2), (95, 4), (100, 4), (25, 1), (26, 2)])
def test_a_percentile_is_one_of_the_values(percent: float, expected: float) -> None:
    assert percentile([1, 2, 3, 4], percent) == expected


@pytest.mark.parametrize(
    ("measured_s", "told_s"), [(0, 0), (2e-5, 0.003), (0.003, 0.003), (0.0031, 0.03), (0.02, 0.03), (0.07, 0.3), (3, 3)]
)
def test_a_measured_time_is_told_in_steps_so_that_two_runs_tell_the_same(measured_s: float, told_s: float) -> None:
    assert coarse_s(measured_s) == told_s


MACHINES = {"local": Machine("local", cpus=2), "nas": Machine("nas", host="nas.example", cpus=8)}


def test_the_own_past_is_its_jobs_with_their_waits(tmp_path: Path) -> None:
    with open_database(tmp_path) as db:
        states = {"sim[1]": "succeeded", "sim[2]": "failed", "sim[3]": "waiting", "copy": "succeeded"}
        put(db, [template("sim", count=3), template("copy", type_="environment")], states=states)
        workload = from_history(db, inventory_nodes(MACHINES), MACHINES, plugins.task_type)
    assert [(job.arrive_s, job.run_s, job.cpus, job.user, job.priority) for job in workload.jobs] == [
        (NOW_S, 10, 1, "me", 4)
    ] * 2
    of = prepare(workload, levels(workload.jobs, {}))
    assert [of.nodes[place].name for place in of.shapes[0].permitted] == ["local"]


def test_only_the_past_since_then_counts(tmp_path: Path) -> None:
    with open_database(tmp_path) as db:
        put(db, [template("old")], states={"old": "succeeded"}, now_s=NOW_S - 1000)
        put(db, [template("new")], states={"new": "succeeded"}, now_s=NOW_S)
        nodes = inventory_nodes(MACHINES)
        found = from_history(db, nodes, MACHINES, plugins.task_type, since_s=NOW_S - 10)
        assert [job.arrive_s for job in found.jobs] == [NOW_S]
        with pytest.raises(UsageError, match="no job of the past in the store"):
            from_history(db, nodes, MACHINES, plugins.task_type, since_s=NOW_S + 10)


def test_a_machine_that_is_not_simulated_lets_its_jobs_go_anywhere(tmp_path: Path) -> None:
    with open_database(tmp_path) as db:
        put(db, [template("one")], states={"one": "succeeded"})
        nodes = nodes_of("other", 2, 4, None, 0)
        (job,) = from_history(db, nodes, MACHINES, plugins.task_type).jobs
    assert job.wants == ()
