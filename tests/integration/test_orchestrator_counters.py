"""Counters that all machines share are never exceeded: over machines, types, experiments and processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.orchestra import Orchestra, assert_told_in_full
from tests.play import BROKEN, DONE, FAILED, Clock, inventory, machine, play_types
from wlmctl.machine import Machine
from wlmctl.retry import retry
from wlmctl.scheduler import Assignment, Decision, Snapshot
from wlmctl.states import TaskState
from wlmctl.store.record import Recorder

Start = Callable[..., Orchestra]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    clock, opened = Clock(), list[Orchestra]()
    play_types(monkeypatch, clock)

    def opener(*machines: Machine, **settings: Any) -> Orchestra:
        settings = {"counters": {"matlab": 2}, **settings}
        opened.append(Orchestra(tmp_path, inventory(*machines), clock=clock, **settings))
        return opened[-1]

    yield opener
    for orchestra in opened:
        orchestra.close()


def count(play: Orchestra, seq: int, state: str = "assigned") -> int:
    return list(play.states(seq).values()).count(state)


def test_what_is_taken_is_counted_over_machines_types_and_experiments(start: Start) -> None:
    play = start(machine("m", cpus=9), machine("n", cpus=9))
    first = play.submit(
        "tasks:\n"
        "  j: {type: play, machine: m, resources: {counters: {matlab: 1}}}\n"
        "  s: {type: step, machine: n, resources: {counters: {matlab: 1}}}"
    )
    second = play.submit("tasks: {j: {type: play, machine: n, resources: {counters: {matlab: 1}}}, free: {type: step}}")
    play.step(1)
    assert count(play, first) == 2
    assert play.states(second) == {"j": "ready", "free": "assigned"}
    play.end("free")
    play.step(1)
    assert play.told(second, "waiting") == ["counter matlab has 0 left, it takes 1"]
    play.end("s")
    assert play.step().states(second) == {"j": "assigned", "free": "succeeded"}
    assert_told_in_full(play.others, [first, second])


@pytest.mark.parametrize("outcome", [DONE, FAILED, BROKEN])
def test_every_end_of_an_attempt_gives_back_what_it_took(start: Start, outcome: Any) -> None:
    play = start(counters={"matlab": 1})
    first = play.submit("tasks: {s: {type: step, resources: {counters: {matlab: 1}}}}")
    second = play.submit("tasks: {s: {type: step, resources: {counters: {matlab: 1}}}}")
    play.step()
    assert play.rows(first)["s"].counters == '{"matlab": 1}'
    assert play.states(second) == {"s": "ready"}
    play.end("s", outcome)
    play.step()
    assert play.rows(first)["s"].counters is None
    assert play.states(second) == {"s": "assigned"}
    assert_told_in_full(play.others, [first, second])


def test_a_new_leader_knows_what_is_taken(start: Start) -> None:
    play = start(counters={"matlab": 1})
    first = play.submit("tasks: {j: {type: play, resources: {counters: {matlab: 1}}}}")
    second = play.submit("tasks: {j: {type: play, resources: {counters: {matlab: 1}}}}")
    play.step().defer("j")
    play.step().lead()
    play.step()
    assert (play.states(first), play.states(second)) == ({"j": "deferred"}, {"j": "ready"})
    play.answer(play.polls()[0], DONE)
    assert play.step().states(second) == {"j": "assigned"}


def test_what_other_processes_take_counts_until_they_are_done(start: Start) -> None:
    play = start(counters={"matlab": 2})
    others = play.submit("tasks: {s: {type: step, resources: {counters: {matlab: 2}}}}")
    with play.others.transaction():  # another process works on it
        play.others.execute("UPDATE experiments SET origin = 'run', state = 'running' WHERE seq = ?", (others,))
        recorder = Recorder(play.others, others, play.clock.time())
        recorder.task(0, TaskState.WAITING, TaskState.READY)
        recorder.task(0, TaskState.READY, TaskState.ASSIGNED, attempt=1, dispatch=1, counters='{"matlab": 2}')
        recorder.flush()
        play.others.execute(
            "INSERT INTO leases SELECT 'experiment:' || ?, owner, epoch, beats, host, boot, pid, start_time, info"
            " FROM leases WHERE name = 'orchestrator'",
            (others,),
        )
    mine = play.submit("tasks: {s: {type: step, resources: {counters: {matlab: 1}}}}")
    assert play.step(1).states(mine) == {"s": "ready"}
    with play.others.transaction():
        recorder = Recorder(play.others, others, play.clock.time())
        recorder.task(0, TaskState.ASSIGNED, TaskState.SUCCEEDED, counters=None)
        recorder.flush()
    assert play.step().states(mine) == {"s": "assigned"}


def test_a_scheduler_cannot_take_more_of_a_counter_than_there_is(start: Start) -> None:
    class Everything:
        def assign(self, snapshot: Snapshot) -> Decision:
            return Decision([Assignment(task, group.machine) for task, group in snapshot.tasks()])

    play = start(scheduler=Everything(), counters={"matlab": 3, "ansys": 1})
    seq = play.submit("tasks: {s: {type: step, resources: {counters: {matlab: 2, ansys: 1}}, foreach: {n: 1..2}}}")
    play.step()
    assert play.states(seq) == {"s[1]": "assigned", "s[2]": "ready"}
    assert play.told(seq, "scheduler") == ["played: assignment of s[2] to local: counter ansys is used up"]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("{matlab: 3}", "resources: asks for 3 of counter matlab, there are 2"),
        ("{abaqus: 1}", "counter abaqus is not in the configuration any more"),
    ],
)
def test_what_no_waiting_will_give_fails_by_name(start: Start, asked: str, reason: str) -> None:
    play = start()
    seq = play.submit(f"tasks: {{s: {{type: step, resources: {{counters: {asked}}}}}}}")
    play.step()
    row = play.rows(seq)["s"]
    assert (row.state, row.reason, row.failure_class) == ("failed", reason, "user")


def test_a_retry_of_a_task_that_took_something_begins_with_nothing(start: Start) -> None:
    play = start()
    seq = play.submit("tasks: {s: {type: step, resources: {counters: {matlab: 1}}}}")
    play.step().end("s", FAILED)
    play.step()
    retry(play.others, seq, now_s=play.clock.time(), by="me")
    play.step()
    assert play.rows(seq)["s"].counters == '{"matlab": 1}'
    assert_told_in_full(play.others, [seq])
