"""What transfers take of machines: slots, shares of a bandwidth, and the pace that follows; and how fast they go."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from tests.waiting import wait_until
from wlmctl.errors import Cancelled
from wlmctl.machine import Machine
from wlmctl.pace import Pace
from wlmctl.rate import Rate
from wlmctl.traffic import SHARE, SHORT_BYTES, SLOT, admitted

NAS = Machine("nas", host="nas", max_connections=3)
NARROW = Machine("narrow", host="narrow", max_connections=1, bandwidth_bytes_s=1_000_000)
LONG = SHORT_BYTES + 1


class Counted:
    """A budget in memory: who cannot have a permit is cancelled at once."""

    def __init__(self) -> None:
        self.held = Counter[str]()
        self.limits: dict[str, int] = {}

    def acquire(self, name: str, limit: int, check: Callable[[], None], priority: int = 0) -> Any:
        self.limits[name] = limit
        if self.held[name] >= limit:
            raise Cancelled(f"would wait for {name}")
        self.held[name] += 1
        return name

    def sharing(self, name: str) -> int:
        return self.held[name]

    def release(self, token: Any) -> None:
        self.held[token] -= 1

    def command(self, login: str, per_minute: int, check: Callable[[], None]) -> None:
        raise AssertionError("a transfer is no command")


def nothing() -> None:
    """A check that never raises."""


def test_long_transfers_leave_one_connection_of_a_machine_free() -> None:
    budget = Counted()
    with ExitStack() as held:
        for _ in range(NAS.max_connections - 1):
            held.enter_context(admitted(budget, [("me@nas", NAS)], LONG, 1, nothing))
        with pytest.raises(Cancelled), admitted(budget, [("me@nas", NAS)], LONG, 1, nothing):
            pass
    with admitted(budget, [("me@nas", NAS)], LONG, 1, nothing):
        pass
    assert not +budget.held


def test_a_machine_with_one_connection_takes_one_long_transfer() -> None:
    budget = Counted()
    with admitted(budget, [("me@narrow", NARROW)], LONG, 1, nothing):
        assert budget.limits[SLOT + "me@narrow"] == 1


def test_a_short_transfer_needs_no_slot_and_many_files_are_no_short_one() -> None:
    budget = Counted()
    with admitted(budget, [("me@nas", NAS)], SHORT_BYTES, 10, nothing):
        assert not +budget.held
    with admitted(budget, [("me@nas", NAS)], 1000, 100_000, nothing):
        assert budget.held[SLOT + "me@nas"] == 1


def test_a_short_transfer_has_its_share_of_the_bandwidth_all_the_same() -> None:
    budget = Counted()
    with admitted(budget, [("me@narrow", NARROW)], 1000, 1, nothing):
        assert budget.held[SHARE + "me@narrow"] == 1


def test_a_refused_slot_at_one_end_gives_back_that_of_the_other() -> None:
    budget = Counted()
    ends = [("b", NARROW), ("a", NAS)]
    with admitted(budget, [("b", NARROW)], LONG, 1, nothing):
        with pytest.raises(Cancelled), admitted(budget, ends, LONG, 1, nothing):
            pass
        assert budget.held[SLOT + "a"] == 0


class PlayedTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += max(seconds, 1e-6)  # no sleep takes no time at all


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> PlayedTime:
    """The clock by which paces are kept."""
    clock = PlayedTime()
    monkeypatch.setattr("wlmctl.pace.time", clock)
    return clock


def took_s(clock: PlayedTime, pace: Pace, size_bytes: int, pieces: int = 10) -> float:
    """How long the pace takes for so many bytes."""
    began_s = clock.now_s
    for _ in range(pieces):
        pace(size_bytes // pieces)
    return clock.now_s - began_s


def test_a_transfer_keeps_to_the_bandwidth_and_two_to_half_of_it_each(clock: PlayedTime) -> None:
    budget = Counted()
    with admitted(budget, [("x", NARROW)], 1000, 1, nothing) as alone:
        assert took_s(clock, alone, 500_000) == pytest.approx(0.5, abs=0.001)
    with (
        admitted(budget, [("x", NARROW)], 1000, 1, nothing) as one,
        admitted(budget, [("x", NARROW)], 1000, 1, nothing),
    ):
        assert took_s(clock, one, 500_000) == pytest.approx(1.0, abs=0.001)


def test_what_goes_from_a_machine_to_itself_counts_both_ways(clock: PlayedTime) -> None:
    with admitted(Counted(), [("x", NARROW), ("x", NARROW)], 1000, 1, nothing) as pace:
        assert took_s(clock, pace, 250_000) == pytest.approx(0.5, abs=0.001)


def test_a_share_grows_within_about_a_second_of_the_end_of_another(clock: PlayedTime) -> None:
    budget = Counted()
    with admitted(budget, [("x", NARROW)], 1000, 1, nothing) as pace:
        budget.held[SHARE + "x"] = 100
        pace(1000)
        budget.held[SHARE + "x"] = 1
        assert took_s(clock, pace, 100_000, 1) < 2.0, "10 s at the rate of a hundredth"


def test_who_waits_for_leave_can_be_cancelled() -> None:
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Cancelled("stop")

    pace = Pace(check)
    pace.keep(lambda: 1000.0)
    ended: list[float] = []

    def send() -> None:
        with pytest.raises(Cancelled):
            pace(10_000_000)
        ended.append(time.monotonic())

    thread = threading.Thread(target=send)
    thread.start()
    stop.set()
    wait_until(lambda: ended, "the sender ends")
    thread.join(60)


def test_a_pace_without_a_rate_never_waits(clock: PlayedTime) -> None:
    assert took_s(clock, Pace(nothing), 1 << 60) == 0


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_rate_is_that_of_the_last_seconds_and_falls_when_nothing_comes() -> None:
    clock = Clock()
    rate = Rate(clock)
    assert rate.bytes_s == 0
    for second in range(1, 11):
        clock.now_s += 1
        rate.note(second * 1000)
    assert rate.bytes_s == pytest.approx(1000, rel=0.01)
    for second in range(1, 11):
        clock.now_s += 1
        rate.note(10_000 + second * 5000)
    assert rate.bytes_s == pytest.approx(5000, rel=0.01)
    assert rate.left_s(50_000) == pytest.approx(10, rel=0.01)
    clock.now_s += 30
    assert rate.bytes_s == 0
    assert rate.left_s(1) is None


def test_what_is_left_after_small_files_is_not_told_by_their_bytes() -> None:
    clock = Clock()
    rate = Rate(clock)
    clock.now_s += 1
    rate.note(2000)
    assert rate.left_s(100_000_000, 6001) is None, "none of them is done"
    for second in range(2, 6):  # 1,000 files of 10 bytes a second
        clock.now_s += 1
        rate.note(second * 10_000, second * 1000)
    assert rate.bytes_s == pytest.approx(10_000, rel=0.01)
    left_s = rate.left_s(100_000_000, 1001)
    assert left_s is not None
    assert left_s < 10, "by the bytes alone it would be hours"


def test_many_notes_take_little_room() -> None:
    clock = Clock()
    rate = Rate(clock)
    for count in range(10_000):
        clock.now_s += 0.001
        rate.note(count)
    assert len(rate._notes) < 60
    assert rate.bytes_s == pytest.approx(1000, rel=0.05)
