"""What machines have is never exceeded: cpus, memory, devices one by one, logins with two names, limits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.orchestra import WORKER, Orchestra, assert_told_in_full
from tests.play import DONE, Clock, inventory, machine, play_types
from wlmctl.machine import Machine
from wlmctl.message import ProbeAnswerMessage
from wlmctl.queues import worker_queue
from wlmctl.store import open_database

Start = Callable[..., Orchestra]
GIB = 1 << 30


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    clock, opened = Clock(), list[Orchestra]()
    play_types(monkeypatch, clock)

    def opener(*machines: Machine, **settings: Any) -> Orchestra:
        opened.append(Orchestra(tmp_path, inventory(*machines), clock=clock, **{"slots": 16, **settings}))
        return opened[-1]

    yield opener
    for orchestra in opened:
        orchestra.close()


def jobs(machine: str, count: int, resources: str) -> str:
    return f"tasks: {{j: {{type: play, machine: {machine}, resources: {resources}, foreach: {{n: 1..{count}}}}}}}"


def under_way(play: Orchestra, seq: int) -> int:
    return sum(state in ("assigned", "deferred") for state in play.states(seq).values())


@pytest.mark.parametrize(
    ("resources", "fit"),
    [
        ("{cpus: 2}", 2),
        ("{cpus: 1, memory: 3GiB}", 2),
        ("{cpus: 1, gpus: 1}", 3),
        ("{cpus: 1}", 4),
        ("{cpus: 4, memory: 8GiB, gpus: 3}", 1),
    ],
)
def test_jobs_start_while_the_machine_has_room_and_the_next_when_one_ends(
    start: Start, resources: str, fit: int
) -> None:
    play = start(machine("m", cpus=4, memory_bytes=8 * GIB, gpus=3))
    seq = play.submit(jobs("m", 9, resources))
    assert under_way(play.step(), seq) == fit
    play.defer(play.names()[0])
    play.step()
    play.answer(play.polls()[0], DONE)
    assert under_way(play.step(), seq) == fit
    assert list(play.states(seq).values()).count("succeeded") == 1


def test_the_room_of_an_experiment_that_has_ended_is_given_to_the_next(start: Start) -> None:
    play = start(machine("m", cpus=1))
    first = play.submit(jobs("m", 1, "{cpus: 1}"))
    play.step()
    second = play.submit(jobs("m", 1, "{cpus: 1}"))
    play.defer(play.names()[0])
    play.step()
    assert under_way(play, second) == 0
    play.answer(play.polls()[0], DONE)
    play.step()
    assert set(play.states(first).values()) == {"succeeded"}
    assert under_way(play.step(), second) == 1


def test_steps_take_no_room_of_a_machine(start: Start) -> None:
    play = start(machine("m", cpus=1))
    seq = play.submit("tasks: {s: {type: step, machine: m, foreach: {n: 1..5}}, j: {type: play, machine: m}}")
    play.step()
    assert set(play.states(seq).values()) == {"assigned"}
    assert {row.site for row in play.rows(seq).values() if row.type == "step"} == {None}


def test_devices_are_handed_out_one_by_one_and_a_freed_one_again(start: Start) -> None:
    play = start(machine("m", cpus=8, gpus=3))
    play.submit(jobs("m", 3, "{gpus: 1}"))
    pairs = play.submit(jobs("m", 2, "{gpus: 2}"))
    play.step()
    assert sorted(message.devices for message in play.tasks) == [(0,), (1,), (2,)]
    [freed] = [message for message in play.tasks if message.devices == (1,)]
    play.end(freed)
    assert under_way(play.step(), pairs) == 0, "one device is not enough for two"
    [freed] = [message for message in play.tasks if message.devices == (0,)]
    play.end(freed)
    play.step()
    assert play.tasks[-1].devices == (0, 1)
    assert json.loads(str(play.rows(pairs)["j[1]"].devices)) == [0, 1]


def test_two_names_of_one_login_share_its_capacity_within_one_decision(start: Start) -> None:
    play = start(machine("m"), machine("twin"), logins={"m": "me@host:22", "twin": "me@host:22"})
    first = play.submit(jobs("m", 3, "{cpus: 2}"))
    second = play.submit(jobs("twin", 3, "{cpus: 2}"))
    play.step()
    assert under_way(play, first) + under_way(play, second) == 2
    assert play.told(first, "scheduler") == [], "a scheduler cannot know it"


def test_another_process_with_the_same_store_shares_the_capacity(start: Start, tmp_path: Path) -> None:
    play = start()
    mine = play.submit(jobs("local", 3, "{cpus: 3}"))
    play.step()
    other = Orchestra(tmp_path, play.machines, clock=play.clock)
    play_over = other.submit(jobs("local", 3, "{cpus: 1}"))
    other.step()
    assert under_way(other, mine) + under_way(other, play_over) == 2
    other.close()


def test_a_job_that_asks_for_more_than_its_machine_has_fails_by_name_and_takes_nothing_with_it(start: Start) -> None:
    play = start(machine("m", cpus=4, memory_bytes=GIB))
    seq = play.submit(
        "tasks: {big: {type: play, machine: m, resources: {cpus: 5}},"
        " fat: {type: play, machine: m, resources: {memory: 2GiB}}, ok: {type: play, machine: m},"
        " after: {type: step, needs: [big]}}"
    )
    rows = play.step().rows(seq)
    assert (rows["big"].state, rows["big"].reason) == ("failed", "resources: asks for 5 cpus, machine m has 4")
    assert rows["fat"].reason == f"resources: asks for {2 * GIB} bytes of memory, machine m has {GIB}"
    assert (rows["ok"].state, rows["after"].state) == ("assigned", "skipped")
    assert_told_in_full(play.others, [seq])


def test_an_impossible_job_stops_the_experiment_that_stops_on_failure(start: Start) -> None:
    play = start()
    seq = play.submit(
        "on_failure: stop\n"
        "tasks: {big: {type: play, resources: {cpus: 9}}, a: {type: step}, b: {type: step, needs: [a]}}"
    )
    play.step()
    assert play.states(seq) == {"big": "failed", "a": "skipped", "b": "skipped"}
    assert play.row(seq).state == "failed"


def test_a_machine_of_unknown_capacity_is_asked_before_its_first_job(start: Start) -> None:
    play = start(machine("m", cpus=None, memory_bytes=None, gpus=None))
    seq = play.submit(jobs("m", 5, "{cpus: 2}"))
    assert play.step().names() == []
    assert len(play.orders) == 1
    play.say(ProbeAnswerMessage(WORKER, "m", "", cpus=4, memory_bytes=GIB, gpus=0))
    assert under_way(play.step(), seq) == 2


def test_max_jobs_caps_the_jobs_of_a_machine(start: Start) -> None:
    play = start(machine("m", cpus=9, max_jobs=2))
    seq = play.submit(jobs("m", 5, "{cpus: 1}"))
    assert under_way(play.step(), seq) == 2


def test_only_a_window_of_work_is_in_the_broker(start: Start) -> None:
    play = start(slots=3)
    seq = play.submit("tasks: {s: {type: step, foreach: {n: 1..50}}}")
    play.orchestrator.step()
    play.orchestrator.step()
    assert play.broker.depth(worker_queue("wlm", WORKER)) <= 6
    play.step()
    assert list(play.states(seq).values()).count("ready") >= 44


def test_what_was_taken_before_a_crash_is_still_taken_after_it(start: Start) -> None:
    play = start()
    seq = play.submit(jobs("local", 4, "{cpus: 2}"))
    play.step()
    for name in play.names():
        play.defer(name)
    play.step().lead()
    assert under_way(play.step(), seq) == 2
    assert play.names() == []


def test_a_machine_that_has_left_the_inventory_fails_its_ready_tasks_by_name(start: Start) -> None:
    play = start(machine("m"))
    seq = play.submit("tasks: {a: {type: step, machine: m}, b: {type: step, machine: m, needs: [{a: ended}]}}")
    play.machines = inventory()
    play.lead()
    rows = play.step().rows(seq)
    assert {row.reason for row in rows.values()} == {"machine m is not in the inventory any more"}
    assert play.row(seq).state == "failed"


def test_a_task_under_way_on_a_machine_that_has_left_the_inventory_fails_by_name_too(start: Start) -> None:
    play = start(machine("m"))
    seq = play.submit("tasks: {a: {type: step, machine: m}}")
    play.step()
    play.machines = inventory()
    play.lead()
    assert play.step().rows(seq)["a"].reason == "machine m is not in the inventory any more"


def test_capacity_columns_are_empty_as_soon_as_a_job_has_ended(start: Start, tmp_path: Path) -> None:
    play = start(machine("m", gpus=1))
    seq = play.submit(jobs("m", 1, "{cpus: 2, gpus: 1}"))
    play.step()
    with open_database(play.url) as db:
        assert db.row("SELECT cpus, gpus, devices FROM tasks WHERE exp = ?", (seq,)) == (2, 1, "[0]")
    play.end("j[1]")
    row = play.step().rows(seq)["j[1]"]
    assert [row.site, row.cpus, row.memory_bytes, row.gpus, row.devices] == [None] * 5
