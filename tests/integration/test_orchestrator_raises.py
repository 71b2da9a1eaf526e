"""A retry that changes resources: what the next attempt asks for, up to what its machine has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.orchestra import Orchestra, assert_told_in_full
from tests.play import FAILED, NOW_S, Clock, machine, play_types
from wlmctl.message import Outcome
from wlmctl.retry import retry
from wlmctl.store.events import events

MIB = 1024**2
NO_MEMORY = Outcome("failed", "memory ran out (Slurm: OUT_OF_MEMORY)", "memory")
NO_TIME = Outcome("failed", "exceeded its walltime", "time")
JOB = """\
tasks:
  j:
    type: play
    resources: {cpus: 1, memory: 256MiB, walltime: 10m}
    retry:
      limit: 4
      delay: 0
      memory: {resources: {memory: x2}}
      time: {resources: {walltime: x1.5, cpus: 2}}
"""


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Orchestra]:
    clock = Clock()
    play_types(monkeypatch, clock)
    machines = {"local": replace(machine("local", cpus=4), memory_bytes=768 * MIB)}
    orchestra = Orchestra(tmp_path, machines, clock=clock)
    yield orchestra
    orchestra.close()


def asks(play: Orchestra) -> tuple[int, int, float | None]:
    """CPUs, MiB and walltime that the dispatch of the job asks for."""
    found = play.step(0.1).task("j").resources
    return found.cpus, found.memory_bytes // MIB, found.walltime_s


def test_the_attempt_after_a_failure_asks_for_what_its_class_says(play: Orchestra) -> None:
    seq = play.submit(JOB)
    assert asks(play) == (1, 256, 600)
    play.end("j", NO_MEMORY)
    assert asks(play) == (1, 512, 600)
    play.end("j", NO_TIME)
    assert asks(play) == (2, 512, 900), "what an earlier failure has changed stays"
    play.end("j", FAILED)
    assert asks(play) == (2, 512, 900), "a class that says nothing changes nothing"
    row = play.rows(seq)["j"]
    assert json.loads(row.asked or "") == {"memory_bytes": 512 * MIB, "walltime_s": 900, "cpus": 2}
    assert row.memory_bytes == 512 * MIB, "it is counted as what it takes of its machine"


def test_the_change_is_told_with_the_reason_of_the_failure(play: Orchestra) -> None:
    seq = play.submit(JOB.replace("delay: 0", "delay: 10"))
    play.step().end("j", NO_MEMORY)
    told = "memory ran out (Slurm: OUT_OF_MEMORY); attempt 2 asks for 512 MiB of memory, this one had 256 MiB of memory"
    assert play.step().rows(seq)["j"].reason == told
    event = next(event for event in events(play.others, seq) if event.target == "waiting")
    assert (event.reason, event.values["asked"]) == (told, f'{{"memory_bytes": {512 * MIB}}}')
    assert_told_in_full(play.others, [seq])


def test_what_a_retry_asks_for_outlives_the_orchestrator(play: Orchestra) -> None:
    play.submit(JOB)
    play.step().end("j", NO_MEMORY)
    play.step()
    play.lead()
    assert asks(play) == (1, 512, 600)
    play.lead()
    assert asks(play) == (1, 512, 600), "also while it is under way"


def test_a_raise_ends_at_what_the_machine_has_and_then_the_task_fails_with_the_reason(play: Orchestra) -> None:
    seq = play.submit(JOB)
    for expected in (256, 512, 768):
        assert asks(play)[1] == expected
        play.end("j", NO_MEMORY)
    row = play.step().rows(seq)["j"]
    assert (row.state, row.failure_class, row.user_failures) == ("failed", "memory", 3)
    assert row.reason == (
        "memory ran out (Slurm: OUT_OF_MEMORY); it had 768 MiB of memory, and machine local has no more:"
        " no further attempt"
    )


def test_a_retry_by_a_user_begins_with_the_resources_of_the_file(play: Orchestra) -> None:
    seq = play.submit(JOB)
    for outcome in (NO_MEMORY, NO_MEMORY, NO_MEMORY):
        play.step(0.1).end("j", outcome)
    play.step()
    retry(play.others, seq, now_s=NOW_S, by="eve")
    assert asks(play) == (1, 256, 600)
    assert play.rows(seq)["j"].asked is None
    play.end("j", NO_MEMORY)
    assert asks(play) == (1, 512, 600)
    assert_told_in_full(play.others, [seq])


def test_attempts_that_ask_for_more_do_not_change_what_others_of_the_group_ask_for(play: Orchestra) -> None:
    play.submit(JOB.replace("type: play", "type: play\n    foreach: {n: 1..3}").replace("256MiB", "100MiB"))
    play.step().end("j[2]", NO_MEMORY)
    play.end("j[1]", NO_TIME)
    play.step(0.1)
    found = {
        message.task: (message.resources.memory_bytes // MIB, message.resources.walltime_s) for message in play.tasks
    }
    assert found == {"j[1]": (100, 900), "j[2]": (200, 600), "j[3]": (100, 600)}


def test_after_an_interruption_a_task_may_ask_for_something_else(play: Orchestra) -> None:
    play.submit(
        JOB.replace("      limit: 4", "      preempted: {resources: {walltime: 20m, cpus: x4}}\n      limit: 4")
    )
    for wait_s in (11, 21):
        play.step().end("j", Outcome("failed", "preempted by Slurm", "preempted"))
        play.step(wait_s)
        assert asks(play) == (4, 256, 1200), "nobody's fault ends a task for want of more"
