"""Steps that move data leave a slot of each worker to others, whatever waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.orchestra import Orchestra
from tests.play import Clock, inventory, machine, play_types
from tests.played_fleet import PlayedFleet

Start = Callable[..., Orchestra]

BULK = "tasks: {load: {type: carry, foreach: {n: 1..40}}}"
LITTLE = "tasks: {a: {type: step}}"


def states(play: Orchestra, seq: int) -> Counter[str]:
    return Counter(play.states(seq).values())


def test_one_worker_gets_as_many_transfers_as_leave_room_for_another_step(start: Start) -> None:
    play = start()
    bulk = play.submit(BULK)
    play.step()
    # of four slots three may move data, and one more waits beside each of these
    assert states(play, bulk) == {"assigned": 6, "ready": 34}
    little = play.submit(LITTLE)
    assert play.step().states(little) == {"a": "assigned"}


def test_the_transfers_go_on_as_others_end(start: Start) -> None:
    play = start()
    bulk = play.submit(BULK)
    play.step()
    play.end("load[1]")
    play.step()
    assert states(play, bulk) == {"succeeded": 1, "assigned": 6, "ready": 33}


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlayedFleet:
    clock = Clock()
    play_types(monkeypatch, clock)
    return PlayedFleet(tmp_path, inventory(machine("m")), clock=clock)


def test_each_worker_of_a_fleet_keeps_a_slot_free_of_transfers(fleet: PlayedFleet) -> None:
    types = ("carry", "step")
    one, other, single = (fleet.worker("v", types=types), fleet.worker("w", types=types), fleet.worker("x", slots=1))
    bulk = fleet.submit(BULK)
    fleet.step()
    assert len(one.names()) + len(other.names()) == 6
    assert single.names() == []
    little = fleet.submit(LITTLE.replace("step", "step, foreach: {n: 1..3}"))
    fleet.step()
    assert set(fleet.states(little).values()) == {"assigned"}
    assert states(fleet, bulk) == {"assigned": 6, "ready": 34}


def test_a_worker_with_one_slot_moves_data_with_it(fleet: PlayedFleet) -> None:
    worker = fleet.worker("x", slots=1, types=("carry",))
    fleet.submit(BULK)
    fleet.step(1)
    assert worker.names() == ["load[1]"]
