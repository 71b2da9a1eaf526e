"""Simulated strategies: what each promises, on workloads small enough to know the answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as draws

from tests.traces import random_lines, write_trace
from wlmctl import plugins
from wlmctl.errors import PluginError, UsageError
from wlmctl.scheduler import Assignment, Decision, Reservation, Snapshot
from wlmctl.simulation.changes import levels
from wlmctl.simulation.easy import Easy
from wlmctl.simulation.engine import Outcome, Strategy, simulate
from wlmctl.simulation.machines_file import nodes_of
from wlmctl.simulation.plugin_strategy import PluginStrategy
from wlmctl.simulation.sources import from_trace
from wlmctl.simulation.strategies import YARDSTICKS, chosen, strategy
from wlmctl.simulation.typed_fifo import TypedFifo
from wlmctl.simulation.workload import Job, Node, Problem, Workload, prepare

ALL = (*plugins.names("scheduler"), *YARDSTICKS)


def problem(jobs: Sequence[Job], nodes: Sequence[Node] | None = None) -> Problem:
    """Jobs on one node of 4 cpus, unless other nodes are given."""
    return prepare(Workload(jobs, nodes or nodes_of("n", 1, 4, None, 0)), levels(jobs, {}))


def random_problem(seed: int, count: int, folder: Any) -> Problem:
    workload = from_trace(write_trace(folder, random_lines(seed, count)), None, {})
    return prepare(workload, levels(workload.jobs, {}))


def make(name: str, of: Problem, seed: int = 0) -> Strategy:
    return strategy(chosen(name, plugins.names("scheduler")), of, seed, plugins.scheduler_factory, {})


def broken_rules(outcome: Outcome) -> list[str]:
    """Jobs that started too early, somewhere they may not be, or where there was no room."""
    of, found, changes = outcome.problem, list[str](), list[tuple[float, int, int, int]]()
    for number, (job, shape) in enumerate(zip(of.jobs, of.shapes, strict=True)):
        start_s, places = outcome.start_s[number], outcome.places[number]
        if start_s is None:
            found.append(f"{number} never started")
            continue
        if start_s < job.arrive_s:
            found.append(f"{number} started before it came")
        if len(set(places)) != shape.nodes or not set(places) <= set(shape.permitted):
            found.append(f"{number} runs on {places}")
        for place in places:
            changes += [(start_s, 1, place, number), (start_s + job.run_s, 0, place, number)]
    used = [[0, 0, 0] for _ in of.nodes]
    for _, is_start, place, number in sorted(changes):
        shape, sign = of.shapes[number], 1 if is_start else -1
        for at, share in enumerate((shape.cpus, shape.memory_bytes, shape.gpus)):
            used[place][at] += sign * share
        node = of.nodes[place]
        whole = (node.cpus, node.memory_bytes or 1 << 60, node.gpus)
        if is_start and any(taken > there for taken, there in zip(used[place], whole, strict=True)):
            found.append(f"{node.name} is over capacity when {number} starts")
    return found


@pytest.mark.parametrize("name", ALL)
@given(seed=draws.integers(0, 10_000))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_no_strategy_breaks_a_rule_and_every_job_runs(tmp_path_factory: Any, name: str, seed: int) -> None:
    of = random_problem(seed, 60, tmp_path_factory.mktemp("trace"))
    outcome = simulate(of, make(name, of))
    assert broken_rules(outcome) == []
    assert outcome.notes == []


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_gives_the_same_starts(tmp_path: Any, name: str) -> None:
    of = random_problem(3, 200, tmp_path)
    first, second = (simulate(of, make(name, of, seed=5)) for _ in range(2))
    assert first.start_s == second.start_s
    assert first.places == second.places


@pytest.mark.parametrize("name", ALL)
def test_a_job_that_fits_starts_when_it_comes(name: str) -> None:
    of = problem([Job(100, 10, 4), Job(200, 10, 4)])
    assert simulate(of, make(name, of)).start_s == [100, 200]


@pytest.mark.parametrize("name", ALL)
def test_a_job_that_waits_starts_when_there_is_room(name: str) -> None:
    of = problem([Job(0, 50, 3), Job(1, 10, 2)])
    assert simulate(of, make(name, of)).start_s == [0, 50]


def test_typed_fifo_lets_the_first_of_a_queue_hold_up_the_others() -> None:
    jobs = [Job(0, 50, 3, queue="a"), Job(1, 10, 2, queue="a"), Job(2, 10, 1, queue="a"), Job(3, 10, 1, queue="b")]
    assert simulate(of := problem(jobs), TypedFifo(0)).start_s == [0, 50, 50, 3]
    assert simulate(of, Easy()).start_s == [0, 50, 2, 12]  # nobody knows when the first ends, so nothing is reserved


def test_typed_fifo_draws_the_node_by_the_seed() -> None:
    of = problem([Job(0, 50, 1)], nodes_of("n", 20, 4, None, 0))
    assert len({simulate(of, TypedFifo(seed)).places[0] for seed in range(10)}) > 3


def test_easy_fills_in_only_what_does_not_delay_the_first() -> None:
    jobs = [
        Job(0, 100, 3, walltime_s=100),
        Job(1, 100, 4, walltime_s=100),
        Job(2, 90, 1, walltime_s=90),
        Job(3, 300, 1, walltime_s=300),
    ]
    assert simulate(problem(jobs), Easy()).start_s == [0, 100, 2, 200]


def test_easy_fills_in_beside_what_is_reserved() -> None:
    jobs = [Job(0, 100, 3, walltime_s=100), Job(1, 100, 2, walltime_s=100), Job(2, 300, 1, walltime_s=300)]
    assert simulate(problem(jobs), Easy()).start_s == [0, 100, 2]


def test_easy_takes_the_node_with_the_least_left_over() -> None:
    nodes = [*nodes_of("big", 1, 16, None, 0), *nodes_of("small", 1, 2, None, 0)]
    assert simulate(problem([Job(0, 10, 2)], nodes), Easy()).places == [(1,)]


def test_a_job_of_several_nodes_waits_for_all_of_them() -> None:
    jobs = [Job(0, 50, 4, walltime_s=50), Job(1, 10, 4, nodes=2, walltime_s=10)]
    nodes = nodes_of("n", 2, 4, None, 0)
    for name in ALL:
        of = problem(jobs, nodes)
        outcome = simulate(of, make(name, of))
        assert outcome.start_s == [0, 50]
        assert sorted(outcome.places[1]) == [0, 1]


class Scripted:
    """A scheduler that answers with what it was told, one answer a call, and notes what it was shown."""

    def __init__(self, *answers: Decision) -> None:
        self.answers, self.seen = list(answers), list[Snapshot]()

    def assign(self, snapshot: Snapshot) -> Decision:
        self.seen.append(snapshot)
        return self.answers.pop(0) if self.answers else Decision()


def play(scheduler: Any, of: Problem) -> Outcome:
    return simulate(of, PluginStrategy("mine", scheduler, of, 0))


def start(task: str, machine: str | None = None, *more: str) -> Decision:
    return Decision([Assignment(task, machine, None, tuple(more))])


def test_equal_jobs_are_shown_as_one_group() -> None:
    scheduler = Scripted()
    play(scheduler, problem([Job(0, 50, 2, user="a"), Job(0, 70, 2, user="a"), Job(0, 50, 2, user="b")]))
    (shown,) = scheduler.seen
    assert [(list(group.tasks), group.user) for group in shown.groups] == [(["0", "1"], "a"), (["2"], "b")]


def test_a_scheduler_is_asked_only_when_something_that_changed_can_be_placed() -> None:
    scheduler = Scripted(start("0", "n1"), start("1", "n1"))
    jobs = [Job(0, 50, 4), Job(1, 10, 4), Job(2, 10, 4)]
    play(scheduler, problem(jobs))
    assert [shown.now_s for shown in scheduler.seen] == [0, 50, 60]


def test_a_snapshot_tells_what_is_free_what_runs_and_who_has_how_much() -> None:
    scheduler = Scripted(start("0", "n1"))
    play(scheduler, problem([Job(0, 50, 3, 100, user="a", walltime_s=90), Job(10, 10, 1, user="a")]))
    shown = scheduler.seen[1]
    assert shown.machines["n1"].free_cpus == 1
    assert [(task.machine, task.expected_end_s, task.resources.cpus) for task in shown.running] == [("n1", 90, 3)]
    assert shown.usage_by_user["a"].running_cpus == 3
    assert shown.usage_by_user["a"].decayed_cpu_s == pytest.approx(30, rel=1e-4)
    assert shown.groups[0].age_s == 0


def test_what_may_not_be_is_refused_and_told() -> None:
    nodes = nodes_of("n", 2, 4, None, 0)
    wrong = [
        start("7", "n1"), start("0", "elsewhere"), start("0", "n1", "n2"), Decision([Assignment("0", "n1")] * 2),
    ]  # fmt: skip
    for number, decision in enumerate(wrong):
        outcome = play(Scripted(decision), problem([Job(0, 50, 4)], nodes))
        assert "assignments of mine were refused; the first: " in outcome.notes[0]
        assert (outcome.start_s[0] is None) == (number < 3)
    full = play(Scripted(Decision([Assignment("0", "n1"), Assignment("1", "n1")])), problem([Job(0, 50, 3)] * 2, nodes))
    assert full.notes[0].endswith("a job with 3 cpus is assigned to n1, which has no room for it")
    assert full.start_s == [0, None]


def test_a_scheduler_may_leave_the_choice_of_nodes() -> None:
    nodes = nodes_of("n", 3, 4, None, 0)
    outcome = play(Scripted(start("0"), start("1", "n2")), problem([Job(0, 50, 4), Job(1, 50, 4, nodes=2)], nodes))
    assert outcome.places == [(0,), (1, 2)]


def test_a_node_that_the_simulation_itself_has_given_away_is_no_mistake_of_the_scheduler() -> None:
    both = Decision([Assignment("0", None), Assignment("1", "n1")])
    jobs = [Job(0, 50, 4), Job(0, 50, 4, wants=("n1",))]
    outcome = play(Scripted(both, start("1", "n1")), problem(jobs, nodes_of("n", 2, 4, None, 0)))
    assert outcome.start_s == [0, 50]
    assert list(outcome.notes) == []


def test_reservations_are_shown_again_until_their_job_starts() -> None:
    kept = (Reservation("1", "n1", 50.0),)
    scheduler = Scripted(
        Decision([Assignment("0", "n1")], reservations=kept), Decision(reservations=kept), start("1", "n1")
    )
    play(scheduler, problem([Job(0, 50, 3), Job(0, 10, 4), Job(5, 10, 1), Job(70, 10, 1)]))
    assert [tuple(shown.reservations) for shown in scheduler.seen[:4]] == [(), kept, kept, ()]


def test_a_scheduler_is_asked_again_when_it_wants_to_be() -> None:
    scheduler = Scripted(Decision(look_again_s=500), start("0", "n1"))
    assert play(scheduler, problem([Job(0, 50, 4)])).start_s == [500]


def test_the_last_decision_says_whether_to_ask_again() -> None:
    scheduler = Scripted(Decision(look_again_s=500), Decision())
    play(scheduler, problem([Job(0, 50, 4), Job(10, 50, 4)]))
    assert [shown.now_s for shown in scheduler.seen] == [0, 10]


def test_a_scheduler_that_always_wants_to_be_asked_again_and_starts_nothing_comes_to_an_end() -> None:
    class Idle:
        def assign(self, snapshot: Snapshot) -> Decision:
            return Decision(look_again_s=1)

    outcome = play(Idle(), problem([Job(0, 50, 4)]))
    assert outcome.notes == ["1 of 1 jobs were never started"]


def test_a_scheduler_that_throws_is_named() -> None:
    class Broken:
        def assign(self, snapshot: Snapshot) -> Decision:
            raise ValueError("no\nluck")

    with pytest.raises(PluginError, match=r"^scheduler mine fails in the simulation: ValueError: no luck$"):
        play(Broken(), problem([Job(0, 50, 4)]))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda: None, "TypeError: it answered NoneType, expected Decision"),
        (lambda: sys.exit(7), "SystemExit: 7"),
    ],
)
def test_a_scheduler_that_answers_nothing_or_ends_the_process_is_named(answer: Any, told: str) -> None:
    class Broken:
        def assign(self, snapshot: Snapshot) -> Decision:
            return cast(Decision, answer())

    with pytest.raises(PluginError, match=rf"^scheduler mine fails in the simulation: {told}$"):
        play(Broken(), problem([Job(0, 50, 4)]))


def test_progress_ends_with_all_jobs() -> None:
    told = list[tuple[int, int]]()
    simulate(problem([Job(0, 50, 4)] * 3), Easy(), lambda done, total: told.append((done, total)))
    assert told[-1] == (3, 3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fifi", "no such strategy, expected one of fifo"),
        ("easy:a=1", "easy has no options"),
        ("fifo:ageing_step", "'ageing_step', expected KEY=VALUE"),
    ],
)
def test_a_wrong_strategy_is_named(text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(text, ["fifo"])
    assert told in str(caught.value)


def test_a_wrong_option_of_a_scheduler_is_named() -> None:
    with pytest.raises(UsageError, match=r"--strategy 'fifo:ageing=1': scheduler_options.ageing: unknown option"):
        make("fifo:ageing=1", problem([Job(0, 50, 4)]))


def test_a_scheduler_gets_the_options_that_it_has() -> None:
    of = problem([Job(0, 50, 4)])
    seen = list[dict[str, Any]]()

    class Picky:
        def __init__(self, options: Any) -> None:
            from wlmctl.errors import ConfigError

            if set(options) - {"ageing_step", "mine"}:
                raise ConfigError("unknown")
            seen.append(dict(options))

        def assign(self, snapshot: Snapshot) -> Decision:
            return Decision()

    strategy(chosen("picky:mine=2", ["picky"]), of, 0, lambda _: Picky, {"mine": 1})
    assert seen[-1] == {"ageing_step": "4h", "mine": 2}
    strategy(chosen("picky", ["picky"]), of, 0, lambda _: Picky, {"ageing_step": "2h"})
    assert seen[-1] == {"ageing_step": "2h"}


def test_an_option_is_what_it_would_be_in_the_configuration() -> None:
    options = chosen("m:fair=false,steps=20,placement=spread,ageing_step=1h", ["m"]).options
    assert options == {"fair": False, "steps": 20, "placement": "spread", "ageing_step": "1h"}
    make("matchmaking:fair=true,steps=20,placement=spread", problem([Job(0, 50, 4)]))
