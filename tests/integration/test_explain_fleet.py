"""`explain` on a fleet: which worker misses what, who is busy, where a dispatch is, who is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.explained import fact, leads_with, nobody_leads, told, why
from tests.play import Clock, inventory, machine, play_types
from tests.played_fleet import PlayedFleet
from wlmctl.host import this_process
from wlmctl.machine import Machine
from wlmctl.store import permits

ONE = "tasks: {a: {type: step}}"
FAR = "tasks: {a: {type: step, machine: far}}"
LOGIN = "me@far:22"


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedFleet]:
    clock = Clock()
    play_types(monkeypatch, clock)

    def login_of(machine: Machine) -> str:
        return f"me@{machine.host}:22"

    monkeypatch.setattr("wlmctl.ssh.login.resolved_login", login_of)
    machines = inventory(machine("m"), machine("far", max_connections=2, commands_per_minute=3))
    played = PlayedFleet(tmp_path, machines, clock=clock)
    leads_with(played, '{"is_fleet": true}')
    yield played
    played.close()


def workers_of(found: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = found["why"]["workers"]
    return value


def test_without_any_worker_it_says_what_to_type(play: PlayedFleet) -> None:
    seq = play.submit(ONE)
    found = told(play.step(1), seq, "a")["why"]
    assert found["code"] == "no_worker"
    assert "wlmctl worker" in found["text"]


def test_each_live_worker_is_told_with_what_it_misses(play: PlayedFleet) -> None:
    play.worker("typed", types=("play",))
    play.worker("plain")
    play.worker("near", labels=("big",), machines=("m",))
    play.worker("ending", labels=("big",)).drain()
    seq = play.submit("tasks: {a: {type: step, machine: far, worker: {labels: [big]}}}")
    found = told(play.step(2), seq, "a")
    assert found["why"]["code"] == "worker"
    assert workers_of(found) == {
        "typed": "takes no tasks of type step",
        "plain": "has no label big",
        "near": "does not reach machine far",
        "ending": "is draining: it takes nothing new",
    }


def test_local_of_another_host_is_what_a_worker_misses(play: PlayedFleet) -> None:
    play.worker("w", host="elsewhere", host_name="elsewhere")
    seq = play.submit(ONE)
    found = told(play.step(2), seq, "a")
    assert found["why"]["code"] == "worker"
    assert "me on elsewhere" in workers_of(found)["w"]


def test_a_local_that_no_worker_is_on_is_named(play: PlayedFleet) -> None:
    play.worker("w")
    seq = play.submit(ONE, local_on="lab")
    found = told(play.step(2), seq, "a")["why"]
    assert (found["code"], found["local_on"]) == ("local", "lab")


def test_workers_that_can_do_it_and_are_busy_are_named_with_their_slots(play: PlayedFleet) -> None:
    worker = play.worker("w", slots=2)
    play.worker("other", types=("play",))
    seq = play.submit("tasks: {a: {type: step, machine: m, foreach: {n: 1..40}}}")
    play.step(1)
    for name in worker.names()[:2]:
        worker.begin(name)
    found = told(play.step(), seq, "a:40")
    assert found["why"]["code"] == "slots"
    assert workers_of(found) == {"w": {"steps": 2, "slots": 2}}
    assert fact(found, "workers")["workers"] == {"other": "takes no tasks of type step"}


def test_a_dispatch_that_one_worker_can_take_is_at_that_worker(play: PlayedFleet) -> None:
    play.worker("w")
    seq = play.submit(FAR)
    found = told(play.step(), seq, "a")
    assert found["why"]["code"] == "assigned"
    assert "worker w" in found["why"]["text"]
    assert found["why"]["since"] is not None


def test_a_dispatch_that_several_can_take_is_in_their_queue(play: PlayedFleet) -> None:
    play.worker("w")
    play.worker("v")
    seq = play.submit(FAR)
    found = told(play.step(), seq, "a")
    assert found["why"]["code"] == "assigned"
    assert workers_of(found) == {"v": {"steps": 0, "slots": 4}, "w": {"steps": 0, "slots": 4}}


def test_a_dispatch_whose_worker_has_gone_waits_for_one_that_can_do_it(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(FAR)
    play.step()
    worker.goodbye()
    assert why(play.step(), seq, "a") == "no_worker"


def test_a_running_step_names_its_worker_and_its_machine(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(FAR)
    play.step()
    worker.begin("a")
    found = told(play.step(), seq, "a")["why"]
    assert (found["code"], found["worker"], found["machine"]) == ("running", worker.id, "far")
    assert "worker w executes it on machine far" in found["text"]


def test_a_fleet_without_a_leader_goes_on_with_what_it_has(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(FAR)
    play.step()
    worker.begin("a")
    play.step()
    nobody_leads(play)
    found = told(play, seq, "a")
    assert found["why"]["code"] == "running"
    assert "wlmctl orchestrator" in fact(found, "no_orchestrator")["text"]


def test_a_step_whose_worker_is_dead_says_so_until_it_is_handed_out_again(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(FAR)
    play.step()
    worker.begin("a")
    play.step()
    with play.others.transaction():
        play.others.execute("UPDATE workers SET state = 'dead', ended = ?, reason = 'silent' WHERE id = ?",
                            (play.clock.time(), worker.id))  # fmt: skip
    document = told(play, seq, "a")
    found = document["why"]
    assert (found["code"], found["worker"], found["reason"]) == ("worker_lost", "w", "silent")
    assert not [each for each in document["facts"] if "executes it" in each["text"]], "a dead worker executes nothing"


def test_a_task_that_kills_its_workers_says_how_many_and_why_it_is_not_tried_again(play: PlayedFleet) -> None:
    worker = play.worker("w0")
    seq = play.submit(FAR)
    play.step()
    for number in (1, 2, 3):
        worker.begin("a")
        play.step(1)
        worker.die()
        worker = play.worker(f"w{number}")
        play.step(4)
        if number < 3:
            killed = fact(told(play, seq, "a"), "killed")
            assert killed["kills"] == number
            assert killed["text"].startswith(("1 worker died", "2 workers died")[number - 1])
    document = told(play, seq, "a")
    assert document["state"] == "failed"
    assert "kills its workers is not tried again" in fact(document, "no_retry")["text"]


def test_a_task_that_every_worker_declines_is_offered_again_later(play: PlayedFleet) -> None:
    from wlmctl.message import Outcome

    worker = play.worker("w")
    seq = play.submit(FAR)
    play.step()
    worker.end("a", Outcome("declined", reason="no such plugin"))
    found = told(play.step(), seq, "a")["why"]
    assert found["code"] == "put_off"
    assert "no such plugin" in found["text"]
    assert found["at"] is not None


def take_permit(play: PlayedFleet, token: str, worker: str) -> None:
    with play.others.transaction():
        assert permits.take(play.others, token, LOGIN, 2, this_process(), worker=worker)


def test_a_step_waits_for_a_connection_while_others_have_all_of_them(play: PlayedFleet) -> None:
    worker, other = play.worker("w"), play.worker("other", types=("play",))
    seq = play.submit(FAR)
    play.step()
    worker.begin("a")
    play.step()
    for token in ("1", "2"):
        take_permit(play, token, other.id)
    found = told(play, seq, "a")["why"]
    assert (found["code"], found["machine"], found["taken"]) == ("connections", "far", 2)
    assert "worker other" in found["text"]


def test_connections_of_which_its_worker_has_one_are_only_told(play: PlayedFleet) -> None:
    worker, other = play.worker("w"), play.worker("other", types=("play",))
    seq = play.submit(FAR)
    play.step()
    worker.begin("a")
    play.step()
    take_permit(play, "1", other.id)
    take_permit(play, "2", worker.id)
    found = told(play, seq, "a")
    assert found["why"]["code"] == "running"
    assert fact(found, "connections")["max_connections"] == 2


def test_a_machine_that_had_its_commands_of_the_minute_is_told(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(FAR)
    play.step()
    worker.begin("a")
    play.step()
    with play.others.transaction():
        for _ in range(3):
            permits.take_command(play.others, LOGIN, 3, play.clock.time())
    assert fact(told(play, seq, "a"), "commands")["commands_per_minute"] == 3


def test_it_is_told_too_of_a_job_whose_end_nobody_can_ask_for_and_of_a_task_that_is_ready(play: PlayedFleet) -> None:
    from wlmctl.message import Outcome

    worker = play.worker("w")
    seq = play.submit("max_running: 1\ntasks: {a: {type: step, machine: far}, b: {type: step, machine: far}}")
    play.step()
    worker.begin("a")
    worker.end("a", Outcome("deferred", handle={"job": 77}, started=True))
    play.step()
    with play.others.transaction():
        for _ in range(3):
            permits.take_command(play.others, LOGIN, 3, play.clock.time())
    for task, cause in (("a", "running"), ("b", "max_running")):
        found = told(play, seq, task)
        assert found["why"]["code"] == cause
        assert fact(found, "commands")["commands_per_minute"] == 3


def test_what_was_handed_out_to_others_makes_no_worker_busy(play: PlayedFleet) -> None:
    play.worker("w", machines=("m",), slots=1)
    play.submit("tasks: {x: {type: step, machine: m, foreach: {n: 1..9}}}")
    play.step()
    play.worker("v", machines=("far",), slots=1)
    seq = play.submit("max_running: 1\ntasks: {a: {type: step, machine: far}, b: {type: step, machine: far}}")
    assert why(play.step(1), seq, "a") == "assigned"
    assert why(play, seq, "b") == "max_running"


def test_what_the_workers_have_room_for_is_not_taken_for_a_limit_of_the_file(play: PlayedFleet) -> None:
    worker = play.worker("w", slots=1)
    play.submit("tasks: {a: {type: step, machine: m, foreach: {n: 1..20}}}")
    play.step(1)
    worker.begin(worker.names()[0])
    seq = play.submit("tasks: {b: {type: step, machine: m, foreach: {n: 1..20}}}")
    play.step(2)
    assert set(play.told(seq, "waiting")) == {"every worker that can do it is busy"}
