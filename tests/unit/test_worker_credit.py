"""The credit of a worker follows what it finishes, and rarely changes, since a change costs deliveries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wlmctl.worker import credit as module
from wlmctl.worker.credit import Credit


class Line:
    """A channel that notes the credits it is given."""

    def __init__(self) -> None:
        self.given: list[tuple[str, int]] = []

    def consume(self, queue: str, credit: int, *, gone: Callable[[], None] | None = None) -> None:
        self.given.append((queue, credit))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_s = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now_s[0])
    return now_s


def pass_time(credit: Credit, clock: list[float], looks: int, finished: int = 0, leased: int = 0) -> None:
    for _ in range(looks):
        clock[0] += module.LOOK_S
        credit.finished("q", finished)
        credit.look(leased)


def new(clock: list[float]) -> tuple[Credit, Any]:
    line = Line()
    credit = Credit(line, ["q"], 4, {})  # type: ignore[arg-type]
    credit.look(0)
    return credit, line


def test_it_begins_with_the_slots_and_gets_what_is_finished_in_100_ms(clock: list[float]) -> None:
    credit, line = new(clock)
    pass_time(credit, clock, 12, finished=40)
    assert line.given[0] == ("q", 4)
    assert 35 <= line.given[-1][1] <= 44
    assert credit.is_raised


def test_a_rate_that_wavers_changes_nothing(clock: list[float]) -> None:
    credit, line = new(clock)
    pass_time(credit, clock, 20, finished=100)
    count = len(line.given)
    for finished in (90, 110, 80, 115, 70, 100) * 4:
        pass_time(credit, clock, 1, finished)
    assert len(line.given) == count


def test_when_nothing_is_finished_any_more_the_slots_are_left(clock: list[float]) -> None:
    credit, line = new(clock)
    pass_time(credit, clock, 20, finished=100)
    pass_time(credit, clock, 12)
    assert line.given[-1] == ("q", 4)
    assert not credit.is_raised


def test_a_look_that_comes_late_does_not_count_for_more(clock: list[float]) -> None:
    credit, line = new(clock)
    clock[0] += 1.0
    credit.finished("q", 100)
    credit.look(0)
    assert line.given[-1] == ("q", 14)


def test_leased_steps_keep_their_slots_and_a_pause_gives_nothing(clock: list[float]) -> None:
    credit, line = new(clock)
    pass_time(credit, clock, 1, leased=3)
    assert line.given[-1] == ("q", 1)
    pass_time(credit, clock, 1, leased=4)
    assert line.given[-1] == ("q", 0)
    pass_time(credit, clock, 1)
    assert line.given[-1] == ("q", 4)
    credit.pause(["q"])
    pass_time(credit, clock, 1)
    assert line.given[-1] == ("q", 0)
