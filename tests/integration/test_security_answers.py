"""A worker that holds a dispatch may answer it with anything: the orchestrator goes on, and tells all it did."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.orchestra import WORKER, Orchestra, assert_told_in_full
from tests.play import Clock, inventory, machine, play_types
from wlmctl.message import (
    Answer,
    CleanedMessage,
    EndMessage,
    Outcome,
    PollAnswerMessage,
    PollMessage,
    ProbeAnswerMessage,
    ProbeMessage,
    ResultMessage,
    StartedMessage,
)
from wlmctl.states import FINAL, TaskState

TASKS = """
tasks:
  a: {type: step, machine: nas, retry: {limit: 2, delay: 1}}
  b: {type: step, needs: [{a: ended}]}
  j: {type: play, machine: nas, outputs: {}}
  k: {type: play, timeout: 5, may_fail: true}
"""

WHAT = ("done", "failed", "cancelled", "deferred", "running", "unknown", "unreachable", "declined")
CLASSES = ("", "user", "time", "memory", "infra", "preempted", "cancelled")
TEXTS = ("", "\0", "x\n" * 50, "\udcff", "é" * 1000, "nas", "../..", "%s {0}", "'; DROP TABLE tasks; --")
NUMBERS = (None, 0, 1, -1, 255, 2**63 - 1, -(2**63))
HANDLES: tuple[Any, ...] = (
    None,
    {},
    {"pid": "x"},
    {"a": [{"b": None}] * 50},
    {"\0": "\0"},
    {"n": 10**30},
    {"t": "\udcff"},
)


def anything(chance):
    return Outcome(
        chance.choice(WHAT),
        chance.choice(TEXTS),
        chance.choice(CLASSES),
        chance.choice(NUMBERS),
        {text: chance.choice(TEXTS) for text in chance.sample(TEXTS, chance.randrange(3))},
        chance.choice((None, *TEXTS)),
        chance.choice(HANDLES),
        chance.random() < 0.5,
        chance.random() < 0.5,
        chance.choice(("", "nas", "local", "nosuch", *TEXTS)),
        chance.choice((b"", b"\0\xff" * 100)),
        chance.choice((b"", b"\0\xff" * 100)),
    )


@pytest.mark.parametrize("seed", range(25))
def test_whatever_a_worker_answers_the_orchestrator_goes_on(seed, tmp_path, monkeypatch):
    clock, chance = Clock(), random.Random(seed)
    play_types(monkeypatch, clock)
    play = Orchestra(tmp_path, machines=inventory(machine("nas", cpus=4)), clock=clock)
    seq = play.submit(TASKS)
    for _ in range(30):
        play.step(chance.choice((0, 1, 20)))
        for message in play.tasks:
            if chance.random() < 0.3:
                play.say(StartedMessage(WORKER, message.key, message.nonce))
            if chance.random() < 0.7:
                took_s = chance.choice((0.0, 1e9))
                play.say(ResultMessage(WORKER, message.key, message.nonce, "x", anything(chance), took_s))
        for order in play.orders:
            match order:
                case PollMessage() | EndMessage():
                    for deferral in order.deferrals:
                        answer = Answer(deferral.key, anything(chance), deferral.nonce)
                        number = order.number if isinstance(order, PollMessage) else 0
                        is_end = isinstance(order, EndMessage)
                        play.say(PollAnswerMessage(WORKER, chance.choice(("nas", "x")), number, [answer], is_end))
                case ProbeMessage():
                    found = [chance.choice((None, 0, -1, 4, 2**63 - 1)) for _ in range(3)]
                    play.say(ProbeAnswerMessage(WORKER, order.machine.name, chance.choice(TEXTS), *found))
        play.say(CleanedMessage(WORKER, "nas", chance.choice((seq, 0, -1)), chance.choice(TEXTS)))
        play.orders.clear()
    play.step(3600)
    assert_told_in_full(play.others, [seq])
    known = {state.value for state in TaskState}
    assert set(play.states(seq).values()) <= known
    for row in play.rows(seq).values():
        assert row.state in {state.value for state in FINAL} or row.ended is None
    play.close()
