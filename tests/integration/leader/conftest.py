"""A leader whose workers and broker are played by the test (docs/decisions/0014)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.orchestra import assert_told_in_full
from tests.play import Clock, inventory, machine, play_types
from tests.played_fleet import PlayedFleet

Start = Callable[..., PlayedFleet]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    clock = Clock()
    play_types(monkeypatch, clock)
    opened: list[PlayedFleet] = []

    def opener(**settings: Any) -> PlayedFleet:
        machines = inventory(machine("m"), machine("far"))
        opened.append(PlayedFleet(tmp_path, machines, clock=clock, **settings))
        return opened[-1]

    yield opener
    for play in opened:
        seqs = [row[0] for row in play.others.rows("SELECT seq FROM experiments")]
        assert_told_in_full(play.others, seqs)
        play.close()


@pytest.fixture
def play(start: Start) -> PlayedFleet:
    return start()
