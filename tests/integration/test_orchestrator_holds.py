"""Machines that users hold: they get nothing and are not probed, and what waits for them keeps its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestra import WORKER, Orchestra, assert_told_in_full
from tests.play import STOPPED, Clock, away, inventory, machine, play_types
from wlmctl import control
from wlmctl.message import Outcome, ProbeAnswerMessage, ProbeMessage
from wlmctl.store import machines

TASKS = "tasks: {a: {type: step, machine: nas, foreach: {n: 1..3}}, j: {type: play, machine: nas}}"


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Orchestra]:
    clock = Clock()
    play_types(monkeypatch, clock)
    orchestra = Orchestra(tmp_path, inventory(machine("nas"), machine("hpc", cpus=99)), clock=clock, slots=16)
    yield orchestra
    orchestra.close()


def hold(play: Orchestra, until_s: float | None = None) -> None:
    with play.others.transaction():
        machines.hold_by_user(play.others, "nas", "new disks", play.clock.time(), "ada", until_s)


def release(play: Orchestra) -> None:
    with play.others.transaction():
        machines.release_by_user(play.others, "nas")
        machines.probe_now(play.others, "nas")


def probes(play: Orchestra) -> int:
    return sum(isinstance(order, ProbeMessage) for order in play.orders)


def test_a_held_machine_gets_neither_work_nor_polls_nor_probes_and_one_event_says_who_holds_it(play: Orchestra) -> None:
    hold(play)
    seq = play.submit(TASKS)
    for _ in range(3):
        play.step(200)
    assert set(play.states(seq).values()) == {"ready"}
    assert (play.polls(), probes(play)) == ([], 0)
    assert play.told(seq, "held") == ["by ada: new disks"]
    release(play)
    play.step()
    assert play.told(seq, "released") == ["machine nas is released"]
    assert {row.attempt for row in play.rows(seq).values()} == {1}
    assert sorted(play.names()) == ["a[1]", "a[2]", "a[3]", "j"]
    assert_told_in_full(play.others, [seq])


def test_what_is_under_way_ends_and_a_job_is_asked_for_after_the_release(play: Orchestra) -> None:
    seq = play.submit(TASKS)
    play.step().defer("j")
    play.step().polls()
    hold(play)
    play.end("a[1]")
    assert play.step(200).states(seq)["a[1]"] == "succeeded"
    assert play.polls() == []
    release(play)
    assert len(play.step().polls()) == 1


def test_a_hold_ends_at_its_time_without_anybodys_doing(play: Orchestra) -> None:
    seq = play.submit(TASKS)
    hold(play, until_s=play.clock.time() + 3600)
    play.step()
    assert play.told(seq, "held") == [machines.held_by_users(play.others)["nas"].text]
    assert "(until " in play.told(seq, "held")[0]
    assert play.step(3599).names() == []
    assert len(play.step(2).names()) == 4
    assert play.told(seq, "released") == ["machine nas is released"]
    assert machines.held_by_users(play.others) == {}


def test_a_hold_by_a_user_is_not_ended_by_a_machine_that_answers(play: Orchestra) -> None:
    seq = play.submit(TASKS)
    play.step().end("a[1]", away("nas"))
    play.step(1.1)
    assert probes(play) == 1
    hold(play)
    play.step()
    play.say(ProbeAnswerMessage(WORKER, "nas", "", cpus=99, memory_bytes=0, gpus=0))
    play.step(200)
    assert play.told(seq, "released") == []
    assert play.states(seq)["a[1]"] == "ready"
    release(play)
    play.step()
    assert play.told(seq, "released") == ["machine nas is released"]


def test_a_machine_that_was_away_when_it_was_held_is_probed_after_the_release_and_not_before(play: Orchestra) -> None:
    seq = play.submit(TASKS)
    play.step().end("a[1]", away("nas"))
    play.step()
    hold(play)
    play.step(300)
    assert probes(play) == 0
    release(play)
    play.step()
    assert probes(play) == 1
    assert play.told(seq, "released") == []
    play.say(ProbeAnswerMessage(WORKER, "nas", "", cpus=99, memory_bytes=0, gpus=0))
    play.step()
    assert play.told(seq, "released") == ["machine nas answers again"]


def test_a_release_brings_the_probe_of_a_machine_that_is_away_forward(play: Orchestra) -> None:
    play.submit(TASKS)
    play.step().end("a[1]", away("nas"))
    for _ in range(8):
        play.step(70)
        play.say(ProbeAnswerMessage(WORKER, "nas", "still away"))
    play.step()
    play.orders.clear()
    assert probes(play.step(5)) == 0
    release(play)
    assert probes(play.step()) == 1


def test_a_host_that_refuses_the_login_is_asked_seldom_so_that_nobody_is_locked_out(play: Orchestra) -> None:
    play.submit(TASKS)
    play.step().end("a[1]", away("nas"))
    play.step(1.1)
    for wait_s in (60, 120, 240, 480, 900, 900):
        play.say(ProbeAnswerMessage(WORKER, "nas", "refused the login", refused=True))
        play.step().orders.clear()
        assert probes(play.step(wait_s - 1)) == 0
        assert probes(play.step(2)) == 1
    play.say(ProbeAnswerMessage(WORKER, "nas", "no route to host"))
    play.step().orders.clear()
    assert probes(play.step(61)) == 1


def test_what_may_run_on_a_machine_that_is_away_is_cancelled_only_once_that_is_proven_not_to_run(
    play: Orchestra,
) -> None:
    seq = play.submit("tasks: {j: {type: play, machine: nas}}")
    play.step().end("j", Outcome("unknown", reason="its submit broke off", machine="nas"))
    assert play.step().states(seq) == {"j": "assigned"}
    assert list(machines.away(play.others)) == ["nas"]
    control.cancel(play.others, seq, now_s=play.clock.time(), by="eve")
    play.step(5)
    assert (play.states(seq), play.names()) == ({"j": "cancelling"}, []), "it may run, and the machine does not answer"
    play.say(ProbeAnswerMessage(WORKER, "nas", "", cpus=99, memory_bytes=0, gpus=0))
    assert play.step(1).task("j").cancel
    assert (play.task("j").key.attempt, play.task("j").key.dispatch) == (1, 2)
    play.end("j", STOPPED)
    assert play.step().states(seq) == {"j": "cancelled"}
    assert_told_in_full(play.others, [seq])


def test_what_may_run_is_asked_for_again_under_the_same_attempt_when_its_machine_answers(play: Orchestra) -> None:
    seq = play.submit("tasks: {j: {type: play, machine: nas}}")
    play.step().end("j", Outcome("unknown", reason="its submit broke off", machine="nas"))
    play.step(2).say(ProbeAnswerMessage(WORKER, "nas", "", cpus=99, memory_bytes=0, gpus=0))
    message = play.step(1).task("j")
    assert (message.key.attempt, message.key.dispatch, message.cancel) == (1, 2, False)
    assert play.rows(seq)["j"].infra_failures == 0
    play.end("j", Outcome("unknown", reason="broken off, left to others"))
    assert play.step().task("j").key.dispatch == 3
    assert play.states(seq) == {"j": "assigned"}
