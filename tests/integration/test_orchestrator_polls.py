"""How often a machine is asked for its deferred tasks, where they are many."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestra import Orchestra
from tests.play import DONE, RUNNING, Clock, play_types
from wlmctl.orchestrator import deferred


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Orchestra]:
    clock = Clock()
    play_types(monkeypatch, clock)
    orchestra = Orchestra(tmp_path, clock=clock)
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
