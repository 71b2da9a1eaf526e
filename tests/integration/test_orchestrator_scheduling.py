"""Schedulers that misbehave are contained and named, and tasks that cannot start say why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.orchestra import WORKER, Orchestra, assert_told_in_full
from tests.play import DONE, machine
from wlmctl.message import ProbeAnswerMessage, ProbeMessage
from wlmctl.scheduler import Assignment, Binding, Decision, Reason, Scheduler, Snapshot

Start = Callable[..., Orchestra]
TWO = "tasks: {a: {type: step, foreach: {n: 1..2}}}"


@dataclass
class Says(Scheduler):
    """A scheduler that answers what the test says, and counts how often it was asked."""

    answer: Callable[[Snapshot], Any]
    asked: list[Snapshot] = field(default_factory=list)

    def assign(self, snapshot: Snapshot) -> Decision:
        self.asked.append(snapshot)
        decision: Decision = self.answer(snapshot)
        return decision


def throws(_: Snapshot) -> Any:
    raise RuntimeError("out of ideas")


def first(snapshot: Snapshot) -> Any:
    return snapshot.groups[0].tasks[0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (throws, "RuntimeError: out of ideas"),
        (lambda _: None, "the scheduler answered NoneType, expected Decision"),
        (lambda _: Decision(assignments=None), "TypeError"),  # type: ignore[arg-type]
        (lambda _: Decision([None]), "AttributeError"),  # type: ignore[list-item]
        (lambda _: Decision(reasons=7), "AttributeError"),  # type: ignore[arg-type]
        (lambda _: Decision([Assignment("77.3", "local")]), "assignment of 77.3: not a ready task, or assigned twice"),
        (lambda s: Decision([Assignment(first(s), "moon")]), "its machine is local"),
        (lambda s: Decision([Assignment(first(s), "local", "nobody")]), "no live worker nobody"),
        (lambda _: Decision(bindings=[Binding("x", "y", "local")]), "binding of y to local: no such role"),
    ],
)
def test_a_scheduler_that_misbehaves_is_named_once_and_fifo_decides(
    start: Start, answer: Callable[[Snapshot], Any], said: str
) -> None:
    play = start(scheduler=Says(answer))
    seq = play.submit("max_running: 1\n" + TWO)
    assert play.step().states(seq) == {"a[1]": "assigned", "a[2]": "ready"}
    play.end("a[1]")
    play.step().end("a[2]")
    assert play.step().row(seq).state == "succeeded"
    [told] = play.told(seq, "scheduler")
    assert said in told
    assert told.startswith("played: ")
    assert told.endswith("fifo decides instead")
    assert_told_in_full(play.others, [seq])


def test_the_legal_part_of_a_bad_decision_is_kept(start: Start) -> None:
    play = start(scheduler=Says(lambda s: Decision([Assignment(first(s), "local")] * 2)))
    seq = play.submit("max_running: 1\n" + TWO)
    assert play.step().states(seq) == {"a[1]": "assigned", "a[2]": "ready"}
    assert len(play.told(seq, "scheduler")) == 1


def test_a_scheduler_cannot_go_beyond_slots_capacity_or_max_running(start: Start) -> None:
    def everything(snapshot: Snapshot) -> Decision:
        return Decision([Assignment(task, group.machine) for task, group in snapshot.tasks()])

    play = start(scheduler=Says(everything), slots=2)
    jobs = play.submit("tasks: {j: {type: play, resources: {cpus: 2}, foreach: {n: 1..3}}}")
    few = play.submit("max_running: 1\ntasks: {f: {type: step, foreach: {n: 1..3}}}")
    many = play.submit("tasks: {s: {type: step, foreach: {n: 1..9}}}")
    play.step()
    assert [list(play.states(seq).values()).count("assigned") for seq in (jobs, few, many)] == [2, 1, 1]
    assert play.told(jobs, "scheduler") == [
        "played: assignment of j[3] to local: the machine has no room for it",
        "played: assignment of f[2] to local: max_running is reached",
        "played: assignment of s[2] to local: no worker has a free slot",
    ]


def test_a_scheduler_may_take_any_ready_task_of_a_group_not_only_the_eldest(start: Start) -> None:
    play = start(scheduler=Says(lambda s: Decision([Assignment(s.groups[0].tasks[-1], "local")])))
    seq = play.submit("max_running: 1\ntasks: {a: {type: step, foreach: {n: 1..5}}}")
    assert play.step().names() == ["a[5]"]
    assert play.told(seq, "scheduler") == []


def test_a_role_is_bound_once_even_if_the_scheduler_says_it_twice(start: Start) -> None:
    def twice(snapshot: Snapshot) -> Decision:
        found = [Binding(role.experiment, role.role, name) for role in snapshot.roles for name in ("m", "n")]
        tasks = [Assignment(task, group.machine) for task, group in snapshot.tasks() if group.machine]
        return Decision(tasks, found)

    play = start(machine("m", labels=("x",)), machine("n", labels=("x",)), scheduler=Says(twice))
    seq = play.submit("machines: {r: {requires: {labels: [x]}}}\ntasks: {a: {type: step, machine: r}}")
    play.step()
    assert play.rows(seq)["a"].machine == "m"
    assert play.told(seq, "scheduler") == ["played: binding of r to n: it is bound to m"]
    assert_told_in_full(play.others, [seq])


def test_a_binding_of_a_decision_that_is_thrown_away_is_forgotten(start: Start) -> None:
    def half(snapshot: Snapshot) -> Decision:
        return Decision([None], [Binding(role.experiment, role.role, "n") for role in snapshot.roles])  # type: ignore[list-item]

    play = start(machine("m", labels=("x",)), machine("n", labels=("x",)), scheduler=Says(half))
    seq = play.submit("machines: {r: {requires: {labels: [x]}}}\ntasks: {a: {type: step, machine: r}}")
    play.step()
    assert play.rows(seq)["a"].machine == "m", "fifo takes the first that fits"
    assert_told_in_full(play.others, [seq])


def test_a_task_may_be_assigned_in_the_decision_that_binds_its_role(start: Start) -> None:
    def both(snapshot: Snapshot) -> Decision:
        found = [Binding(role.experiment, role.role, "m") for role in snapshot.roles]
        return Decision([Assignment(task, "m") for task, _ in snapshot.tasks()], found)

    play = start(machine("m", labels=("x",)), scheduler=Says(both))
    seq = play.submit("machines: {r: {requires: {labels: [x]}}}\ntasks: {a: {type: step, machine: r}}")
    assert play.step().states(seq) == {"a": "assigned"}
    assert play.told(seq, "scheduler") == []


def test_a_role_is_bound_to_the_first_machine_that_fits_and_stays_there(start: Start) -> None:
    play = start(machine("s"), machine("m", labels=("x",)), machine("n", labels=("x",)))
    seq = play.submit(
        "machines: {r: {requires: {labels: [x]}}}\n"
        "tasks: {a: {type: step, machine: r}, b: {type: step, machine: r, needs: [a]}}"
    )
    play.step().end("a")
    play.step().lead()
    play.step()
    assert {row.machine for row in play.rows(seq).values()} == {"m"}
    assert_told_in_full(play.others, [seq])


def test_a_role_with_each_is_bound_once_for_each_value(start: Start) -> None:
    play = start(machine("m", labels=("x",)))
    seq = play.submit(
        "machines: {r: {requires: {labels: [x]}, each: n}}\n"
        "tasks: {a: {type: step, machine: r, foreach: {n: [u, v]}}, b: {type: step, machine: r, foreach: {n: [u, v]}}}"
    )
    play.step()
    bound = play.others.rows("SELECT role, machine FROM bindings WHERE exp = ? ORDER BY role", (seq,))
    assert bound == [("r[u]", "m"), ("r[v]", "m")]


def test_machines_of_unknown_capacity_are_asked_before_a_role_is_bound(start: Start) -> None:
    play = start(machine("m", cpus=None), machine("n", cpus=None))
    seq = play.submit("machines: {r: {requires: {cpus: 16}}}\ntasks: {j: {type: play, machine: r}}")
    play.step()
    probes = [order for order in play.orders if isinstance(order, ProbeMessage)]
    assert [probe.machine.name for probe in probes] == ["m", "n"]
    assert play.told(seq, "waiting") == [], "nothing is known yet"
    play.say(ProbeAnswerMessage(WORKER, "m", "", cpus=8, memory_bytes=0, gpus=0))
    play.say(ProbeAnswerMessage(WORKER, "n", "", cpus=16, memory_bytes=0, gpus=0))
    assert play.step().rows(seq)["j"].machine == "n"


def test_a_requirement_that_nothing_fits_says_once_what_is_missing_where(start: Start) -> None:
    play = start(machine("m", labels=("x",)))
    seq = play.submit(
        "machines: {r: {requires: {labels: [fast], cpus: 2}}}\n"
        "tasks: {a: {type: step}, j: {type: play, machine: r, foreach: {n: 1..3}}}"
    )
    for _ in range(3):
        play.step(1)
    assert play.told(seq, "waiting") == ["no machine fits the role r: local has no label fast; m has no label fast"]
    assert play.states(seq) == {"a": "assigned"} | {f"j[{n}]": "ready" for n in (1, 2, 3)}


def test_a_label_that_no_worker_has_says_so(start: Start) -> None:
    play = start()
    seq = play.submit("tasks: {a: {type: step, worker: {labels: [site=b]}}}")
    play.step(1).step(1)
    assert play.told(seq, "waiting") == ["no live worker can do it"]


def test_an_experiment_that_only_waits_for_others_says_so_once(start: Start) -> None:
    play = start()
    first_seq = play.submit("tasks: {j: {type: play, resources: {cpus: 4}}}")
    second = play.submit("tasks: {j: {type: play, resources: {cpus: 1}, foreach: {n: 1..3}}}")
    for _ in range(3):
        play.step(1)
    assert play.told(second, "waiting") == ["machine local has no room for it"]
    play.defer("j")
    play.step()
    play.answer(play.polls()[0], DONE)
    play.step(1)
    assert list(play.states(second).values()) == ["assigned"] * 3
    assert play.told(first_seq, "waiting") == []


def test_tasks_that_wait_for_their_own_kind_say_nothing(start: Start) -> None:
    play = start()
    seq = play.submit("max_running: 2\ntasks: {j: {type: play, resources: {cpus: 3}, foreach: {n: 1..3}}}")
    play.step(1).step(1)
    assert play.told(seq, "waiting") == []


def test_a_reason_of_a_strange_kind_is_not_taken_over(start: Start) -> None:
    play = start(scheduler=Says(lambda s: Decision(reasons={"nothing": Reason("a", "b"), s.groups[0].id: "text"})))  # type: ignore[dict-item]
    seq = play.submit(TWO)
    play.step(1)
    assert play.told(seq, "waiting") == []
    assert play.told(seq, "scheduler") == []


def test_the_same_snapshot_carries_priority_order_age_and_bindings(start: Start) -> None:
    asked = Says(lambda _: Decision())
    play = start(machine("m", labels=("x",)), scheduler=asked)
    seq = play.submit("priority: 7\nmax_running: 5\nproject: lab\ndeadline: +2h\n" + TWO)
    play.step().step(60)
    group = asked.asked[-1].groups[0]
    assert (group.priority, group.order, group.may_start, len(group.tasks)) == (7, seq, 5, 2)
    assert (group.user, group.project) == (play.row(seq).user, "lab")
    assert group.deadline_s == play.row(seq).created + 7200
    assert group.age_s == pytest.approx(60, abs=1)
    assert list(asked.asked[-1].machines) == ["local", "m"]


def test_a_scheduler_sees_what_runs_until_when_and_for_whom(start: Start) -> None:
    seen = Says(lambda s: Decision([Assignment(first(s), "local")]))
    play = start(scheduler=seen)
    seq = play.submit("project: lab\ntasks: {j: {type: play, timeout: 60, foreach: {n: 1..2}}}")
    play.step().step(2)
    [running] = seen.asked[-1].running
    assert (running.task, running.machine, running.resources.cpus) == (f"{seq}.0", "local", 1)
    assert seen.asked[-1].usage_by_project["lab"].running_cpus == 1
    assert [usage.running_cpus for usage in seen.asked[-1].usage_by_user.values()] == [1]


@pytest.mark.parametrize(("limits", "left_s"), [("timeout: 60", 60), ("timeout: 60, resources: {walltime: 50}", 50)])
def test_the_end_of_what_runs_is_expected_at_its_limit_also_by_a_new_leader(
    start: Start, limits: str, left_s: float
) -> None:
    seen = Says(lambda s: Decision([Assignment(first(s), "local")]))
    play = start(scheduler=seen)
    play.submit(f"tasks: {{j: {{type: play, {limits}, foreach: {{n: 1..4}}}}}}")
    play.step().defer("j[1]")
    begun_s = play.step().clock.time()
    play.step(2)
    ends = [each.expected_end_s for each in seen.asked[-1].running if each.task.endswith(".0")]
    assert ends == [pytest.approx(begun_s + left_s)]
    play.lead()
    play.submit("tasks: {j: {type: play}}")
    play.step()
    assert [each.expected_end_s for each in seen.asked[-1].running if each.task.endswith(".0")] == ends


def test_a_scheduler_sees_what_was_used_lately_by_user_and_project(start: Start) -> None:
    seen = Says(lambda s: Decision([Assignment(first(s), "local")]))
    play = start(scheduler=seen)
    seq = play.submit("project: lab\ntasks: {j: {type: play, resources: {cpus: 3}}, s: {type: step}}")
    play.step().defer("j")
    play.step(100)
    play.answer(play.polls()[0], DONE)
    play.step()
    user = play.row(seq).user

    def used_s(later_s: float) -> list[float]:
        play.step(later_s)
        play.submit("tasks: {j: {type: play}}")
        play.step()
        last = seen.asked[-1]
        return [last.usage_by_user[user].decayed_cpu_s, last.usage_by_project["lab"].decayed_cpu_s]

    at_first = used_s(60)
    assert at_first == [pytest.approx(300, rel=0.1)] * 2, "the middle of six hours counts"
    a_day_later = used_s(24 * 3600)
    assert a_day_later[1] == pytest.approx(at_first[1] / 2, rel=0.01)
    play.lead()
    play.submit("tasks: {j: {type: play}}")
    play.step()
    assert seen.asked[-1].usage_by_project["lab"].decayed_cpu_s == a_day_later[1], "from the store"
