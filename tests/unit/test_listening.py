"""The leader's listening clock: it runs only while workers can be heard."""

from __future__ import annotations

from wlmctl.orchestrator.listening import PULSE_S, Listening


def pulses(clock: Listening, begin: float, count: int) -> list[int]:
    """Those sent from ``begin`` on, each when it is due."""
    sent = [clock.pulse(begin + PULSE_S * number) for number in range(count)]
    assert None not in sent
    return [number for number in sent if number is not None]


def test_it_runs_with_the_pulses_that_come_back() -> None:
    clock = Listening()
    for step, number in enumerate(pulses(clock, 100, 11)):
        clock.heard(number, 100 + PULSE_S * step + 0.01)
    assert abs(clock.now_s - 10 * PULSE_S) < 0.01


def test_it_stands_while_none_comes_back_and_pulses_that_were_held_up_do_not_make_it_jump() -> None:
    clock = Listening()
    [first] = pulses(clock, 100, 1)
    clock.heard(first, 100.01)
    held_up = pulses(clock, 100 + PULSE_S, 20)  # the way to the broker is cut for ten seconds
    assert clock.now_s == 0
    for number in held_up:
        clock.heard(number, 110.6)
    assert clock.now_s <= 2 * PULSE_S


def test_a_leader_that_was_stopped_has_heard_nobody() -> None:
    clock = Listening()
    for begin in (100, 160):
        [number] = pulses(clock, begin, 1)
        clock.heard(number, begin + 0.01)
    assert clock.now_s <= 2 * PULSE_S
