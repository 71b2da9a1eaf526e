"""How often a machine is asked for its deferred tasks, where they are many, or wait in a queue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestra import Orchestra
from tests.play import DONE, RUNNING, Clock, inventory, machine, play_types
from wlmctl.orchestrator import deferred


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Orchestra]:
    clock = Clock()
    play_types(monkeypatch, clock)
    orchestra = Orchestra(tmp_path, inventory(machine("far"), machine("queued", batch="slurm")), clock=clock)
    yield orchestra
    orchestra.close()


def test_more_deferred_tasks_than_one_poll_takes_are_asked_for_in_turn(
    play: Orchestra, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deferred, "POLL_LIMIT", 3)
    seq = play.submit("tasks: {j: {type: play, foreach: {n: 1..4}}}")
    play.step()
    for name in play.names():
        play.defer(name)
    for _ in range(2):
        asked = set[int]()
        for _ in range(2):
            [poll] = play.step(2).polls()
            assert len(poll.deferrals) == 3
            asked |= {deferral.key.idx for deferral in poll.deferrals}
            play.answer(poll, RUNNING)
        assert asked == set(range(4)), "a long queue has no end that nobody asks for"
    for _ in range(2):
        [poll] = play.step(2).polls()
        play.answer(poll, DONE)
    assert set(play.step().states(seq).values()) == {"succeeded"}


def defer(play: Orchestra, machine: str) -> None:
    """One more job is in the queue of the machine, or runs there."""
    play.submit(f"tasks: {{j: {{type: play, machine: {machine}}}}}")
    play.step()
    play.defer(play.names()[0])
    play.step()


def test_a_new_job_in_a_queue_is_asked_for_by_the_next_look_and_elsewhere_at_once(play: Orchestra) -> None:
    for name, at_once in (("queued", 1), ("far", 2)):
        defer(play, name)
        [poll] = play.polls()
        play.answer(poll, RUNNING)
        play.step()
        defer(play, name)
        again = play.polls()
        for each in again:
            play.answer(each, RUNNING)
        assert len(again) == at_once - 1
        assert len(play.step(1).polls()) == 1, "a second later at the latest"


def test_ends_in_a_queue_are_told_together_once_a_second(play: Orchestra) -> None:
    for _ in range(3):
        defer(play, "queued")
    [poll] = play.polls()
    play.answer(poll, DONE)
    assert play.step(0.9).polls() == []
    [poll] = play.step(0.1).polls()
    assert len(poll.deferrals) == 2


def test_a_queue_that_answers_slowly_is_asked_less(play: Orchestra) -> None:
    defer(play, "queued")
    [poll] = play.polls()
    play.step(20)
    play.answer(poll, RUNNING)
    assert play.step().step(19).polls() == []
    assert len(play.step(1).polls()) == 1
