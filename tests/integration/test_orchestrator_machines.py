"""Machines that go away: held with one event, probed with patience, and no attempt is spent on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestra import WORKER, Orchestra, assert_told_in_full
from tests.play import DONE, NOW_S, RUNNING, STOPPED, Clock, away, inventory, machine, play_types
from wlmctl import control
from wlmctl.message import ProbeAnswerMessage, ProbeMessage
from wlmctl.orchestrator.fleet import PROBE_FIRST_S
from wlmctl.store import machines


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Orchestra]:
    clock = Clock()
    play_types(monkeypatch, clock)
    orchestra = Orchestra(tmp_path, inventory(machine("nas"), machine("hpc", cpus=99)), clock=clock, slots=16)
    yield orchestra
    orchestra.close()


def probes(play: Orchestra) -> list[str]:
    found = [order for order in play.orders if isinstance(order, ProbeMessage)]
    play.orders = [order for order in play.orders if order not in found]
    return [order.machine.name for order in found]


def answers_again(play: Orchestra, name: str) -> None:
    if not any(isinstance(order, ProbeMessage) for order in play.orders):
        play.step(PROBE_FIRST_S)
    play.say(ProbeAnswerMessage(WORKER, name, "", cpus=99, memory_bytes=0, gpus=0))
    play.step()


def steps(count: int, machine: str = "nas") -> str:
    return f"tasks: {{a: {{type: step, machine: {machine}, foreach: {{n: 1..{count}}}}}}}"


def test_a_machine_that_does_not_answer_is_held_and_its_task_waits_without_losing_an_attempt(play: Orchestra) -> None:
    seq = play.submit(steps(1))
    play.step().begin("a[1]")
    play.end("a[1]", away("nas"))
    row = play.step().rows(seq)["a[1]"]
    assert (row.state, row.attempt, row.user_failures, row.infra_failures) == ("ready", 1, 0, 0)
    assert row.reason == "machine nas is held: no route to host"
    assert play.told(seq, "held") == ["no route to host"]
    assert machines.holds(play.others)["nas"].reason == "no route to host"
    answers_again(play, "nas")
    assert play.told(seq, "released") == ["machine nas answers again"]
    assert machines.holds(play.others) == {}
    play.end("a[1]")
    row = play.step().rows(seq)["a[1]"]
    assert (row.state, row.attempt, row.dispatch) == ("succeeded", 1, 2)
    assert_told_in_full(play.others, [seq])


def test_an_answer_about_a_machine_that_nobody_asked_for_changes_nothing(play: Orchestra) -> None:
    seq = play.submit(steps(2))
    play.step().say(ProbeAnswerMessage(WORKER, "nas", "forged: it is away"))
    assert machines.holds(play.step().others) == {}
    play.end("a[1]", away("nas"))
    play.step(PROBE_FIRST_S).say(ProbeAnswerMessage("another", "nas", "", cpus=99, memory_bytes=0, gpus=0))
    assert list(machines.holds(play.step().others)) == ["nas"]
    assert play.told(seq, "released") == []


def test_many_tasks_that_find_a_machine_away_make_one_event_and_one_probe_a_second_later(play: Orchestra) -> None:
    seq = play.submit(steps(9))
    play.step()
    for name in play.names():
        play.end(name, away("nas"))
    play.step()
    assert len(play.told(seq, "held")) == 1
    assert probes(play) == []
    assert probes(play.step(1.1)) == ["nas"]


def test_many_deferred_tasks_in_one_poll_do_not_make_the_wait_for_the_machine_longer(play: Orchestra) -> None:
    seq = play.submit("tasks: {j: {type: play, machine: hpc, foreach: {n: 1..9}}}")
    play.step()
    for name in play.names():
        play.defer(name)
    [poll] = play.step().polls()
    play.answer(poll, away("hpc"))
    assert probes(play.step(1.1)) == ["hpc"]
    assert play.told(seq, "held") == ["no route to host"]
    assert set(play.states(seq).values()) == {"deferred"}


def test_probes_of_a_machine_that_stays_away_become_rarer_up_to_a_minute(play: Orchestra) -> None:
    play.submit(steps(1))
    play.step().end("a[1]", away("nas"))
    waits = []
    for wait_s in (1, 2, 4, 8, 16, 32, 60, 60):
        assert probes(play.step(wait_s - 0.5)) == []
        waits += probes(play.step(0.6))
        play.say(ProbeAnswerMessage(WORKER, "nas", "still no route"))
    assert waits == ["nas"] * 8


def test_a_held_machine_gets_neither_work_nor_polls_and_others_go_on(play: Orchestra) -> None:
    seq = play.submit(
        "tasks: {a: {type: step, machine: nas, foreach: {n: 1..3}}, j: {type: play, machine: nas},"
        " b: {type: step, machine: hpc}}"
    )
    play.step().defer("j")
    play.end("a[1]", away("nas"))
    play.step(200)
    assert play.polls() == []
    assert "a[1]" not in play.names()
    play.end("b")
    assert play.step().states(seq)["b"] == "succeeded"
    answers_again(play, "nas")
    assert len(play.polls()) == 1
    assert "a[1]" in play.names()


def test_a_transfer_between_two_machines_waits_for_the_one_that_is_away(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step, machine: hpc, also: nas}}")
    play.step().end("a", away("nas"))
    play.step(5)
    assert play.names() == []
    assert play.rows(seq)["a"].reason == "machine nas is held: no route to host"
    answers_again(play, "nas")
    assert play.names() == ["a"]


def test_only_experiments_with_work_for_the_machine_are_told_and_newcomers_too(play: Orchestra) -> None:
    first = play.submit(steps(1))
    other = play.submit(steps(1, "hpc"))
    play.step()
    play.end(play.tasks[0], away("nas"))
    play.step()
    later = play.submit(steps(1))
    play.step()
    assert [len(play.told(seq, "held")) for seq in (first, other, later)] == [1, 0, 1]
    answers_again(play, "nas")
    assert [len(play.told(seq, "released")) for seq in (first, other, later)] == [1, 0, 1]


def test_a_user_who_changes_the_experiment_does_not_bring_the_event_again(play: Orchestra) -> None:
    seq = play.submit(steps(2))
    play.step().end("a[1]", away("nas"))
    play.step()
    control.set_priority(play.others, seq, 9, now_s=NOW_S)
    play.step()
    assert len(play.told(seq, "held")) == 1


def test_a_hold_that_a_dead_process_left_is_looked_into_at_once(play: Orchestra) -> None:
    play.submit(steps(1))
    play.step().end("a[1]", away("nas"))
    play.step(100).lead()
    play.orders.clear()
    assert probes(play.step()) == ["nas"]
    answers_again(play, "nas")
    assert machines.holds(play.others) == {}
    assert play.names() == ["a[1]"]


def test_a_machine_is_probed_once_at_a_time_and_anew_by_who_takes_over(play: Orchestra) -> None:
    play.submit(steps(1))
    play.step().end("a[1]", away("nas"))
    assert probes(play.step(2)) == ["nas"]
    assert probes(play.step(60)) == []
    play.lead()
    assert probes(play.step()) == ["nas"]


def test_a_cancel_with_the_machine_away_is_cancelling_until_it_answers_and_then_proven(play: Orchestra) -> None:
    seq = play.submit("tasks: {j: {type: play, machine: nas}}")
    play.step().defer("j")
    [poll] = play.step().polls()
    play.answer(poll, away("nas"))
    play.step()
    control.cancel(play.others, seq, now_s=NOW_S, by="eve")
    play.step(30)
    assert (play.states(seq)["j"], play.row(seq).state, play.ends()) == ("cancelling", "cancelling", [])
    answers_again(play, "nas")
    [order] = play.ends()
    play.answer(order, STOPPED)
    play.step()
    assert (play.states(seq)["j"], play.row(seq).state) == ("cancelled", "cancelled")
    assert_told_in_full(play.others, [seq])


def test_a_cancel_whose_order_finds_the_machine_away_is_given_again_when_it_answers(play: Orchestra) -> None:
    seq = play.submit("tasks: {j: {type: play, machine: nas}}")
    play.step().defer("j")
    play.step()
    control.cancel(play.others, seq, now_s=NOW_S, by="eve")
    [order] = play.step().ends()
    play.answer(order, away("nas"))
    assert play.step(30).ends() == []
    answers_again(play, "nas")
    [order] = play.ends()
    play.answer(order, DONE)
    assert play.step().states(seq) == {"j": "succeeded"}, "it had ended by itself before the cancel"


def test_a_cancel_of_what_waits_for_a_held_machine_is_done_at_once(play: Orchestra) -> None:
    seq = play.submit(steps(1))
    play.step().end("a[1]", away("nas"))
    play.step()
    control.cancel(play.others, seq, now_s=NOW_S, by="eve")
    assert play.row(seq).state == "cancelled"
    play.step(5)
    assert play.states(seq) == {"a[1]": "cancelled"}


def test_after_a_crash_a_cancel_of_what_may_have_started_waits_for_the_machine(play: Orchestra) -> None:
    seq = play.submit("tasks: {j: {type: play, machine: nas}}")
    play.step()
    control.cancel(play.others, seq, now_s=NOW_S, by="eve")
    play.lead()
    message = play.step().end("j", away("nas"))
    assert message.cancel
    play.step(5)
    assert (play.states(seq), play.names()) == ({"j": "cancelling"}, [])
    answers_again(play, "nas")
    assert play.task("j").cancel
    play.end("j", STOPPED)
    assert play.step().states(seq) == {"j": "cancelled"}


def test_a_timeout_with_the_machine_away_is_enforced_when_it_answers(play: Orchestra) -> None:
    seq = play.submit("tasks: {j: {type: play, machine: nas, timeout: 60}}")
    play.step().defer("j")
    [poll] = play.step().polls()
    play.answer(poll, away("nas"))
    assert play.step(100).ends() == []
    assert play.states(seq) == {"j": "deferred"}
    answers_again(play, "nas")
    [order] = play.ends()
    play.answer(order, STOPPED)
    assert play.step().rows(seq)["j"].failure_class == "time"


def test_waiting_for_a_held_machine_does_not_count_for_the_timeout(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step, machine: nas, timeout: 60}}")
    play.step().begin("a")
    play.end("a", away("nas"))
    play.step(500)
    answers_again(play, "nas")
    play.begin("a")
    play.step(30).end("a")
    assert play.step().states(seq) == {"a": "succeeded"}


def test_a_role_goes_to_a_machine_that_answers(play: Orchestra) -> None:
    play.submit(steps(1))
    play.step().end("a[1]", away("nas"))
    play.step()
    seq = play.submit("machines: {r: {requires: {cpus: 4}}}\ntasks: {j: {type: play, machine: r}}")
    play.machines = inventory(machine("nas"))
    play.step()
    assert play.rows(seq)["j"].machine == "local"


def test_a_machine_away_while_a_poll_says_running_keeps_its_job(play: Orchestra) -> None:
    seq = play.submit("tasks: {j: {type: play, machine: nas}}")
    play.step().defer("j")
    for outcome in (RUNNING, away("nas")):
        play.answer(play.step(10).polls()[-1], outcome)
        play.step()
    answers_again(play, "nas")
    play.answer(play.step(1).polls()[-1], DONE)
    row = play.step().rows(seq)["j"]
    assert (row.state, row.attempt, row.dispatch) == ("succeeded", 1, 1)
