"""Who goes first in a fleet: what is urgent overtakes what waits, and what waits for long is not overtaken for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.services.rabbitmq import Vhost
from tests.waiting import wait_until
from wlmctl.testing import noop

#: What is promised for an urgent task behind many, in seconds; a test allows three times as much.
STEADY_S, CHANGED_S, BUSY_HOST = 0.3, 0.5, 3

ONE = "name: {name}\npriority: {priority}\ntasks:\n  one: {{type: noop}}\n"


@pytest.fixture
def line(tmp_path: Path, vhost: Vhost) -> Iterator[CommandLine]:
    """Commands of a fleet that knows the task type ``noop``, and nothing started yet."""
    line = CommandLine(tmp_path, {"WLMCTL_BROKER": vhost.url, **noop.install(tmp_path / "plugin")})
    yield line
    line.close()


def start_fleet(line: CommandLine, workers: int, slots: int) -> None:
    line.start("orchestrator")
    for number in range(workers):
        line.start("worker", "--name", f"w{number}", "--slots", str(slots))
    wait_until(lambda: len(line.json("worker", "list")["workers"]) == workers, "the workers are known", 60)


def submit(line: CommandLine, name: str, text: str) -> str:
    return line.run("submit", line.write(f"{name}.yaml", text)).stdout.strip()


def succeeded(line: CommandLine, identifier: str) -> int:
    (found,) = line.json("status", identifier)["experiments"]
    return sum(task["state"] == "succeeded" for task in found["tasks"])


def from_submit_to_end(line: CommandLine, identifier: str) -> tuple[datetime, datetime]:
    line.run("wait", identifier, "--timeout", "60")
    (found,) = line.json("status", identifier)["experiments"]
    return datetime.fromisoformat(found["created"]), datetime.fromisoformat(found["ended"])


def seconds_from_submit_to_end(line: CommandLine, identifier: str) -> float:
    created, ended = from_submit_to_end(line, identifier)
    return (ended - created).total_seconds()


def ended_between(line: CommandLine, identifier: str, begin: datetime, end: datetime) -> int:
    """How many tasks of an experiment have succeeded in that time."""
    found = map(json.loads, line.run("events", identifier, "-o", "json").stdout.splitlines())
    succeeded = [event["time"] for event in found if event["task"] and event["to"] == "succeeded"]
    return sum(begin < datetime.fromisoformat(time) <= end for time in succeeded)


def test_an_urgent_experiment_behind_ten_thousand_waiting_tasks_starts_at_once(line: CommandLine) -> None:
    start_fleet(line, 2, 4)
    many = submit(line, "many", "name: many\ntasks:\n  step: {type: noop, takes: 50ms, foreach: {n: 1..10000}}\n")
    wait_until(lambda: succeeded(line, many) > 200, "the fleet is at work", 60)
    took_s = sorted(
        seconds_from_submit_to_end(line, submit(line, f"urgent-{n}", ONE.format(name=f"urgent-{n}", priority="urgent")))
        for n in range(3)
    )
    assert line.state(many) == "running"
    assert took_s[1] < STEADY_S * BUSY_HOST, took_s


def test_what_is_urgent_starts_soon_after_the_work_has_become_slow(line: CommandLine) -> None:
    start_fleet(line, 2, 4)
    text = """
name: mixed
tasks:
  quick: {type: noop, foreach: {n: 1..3000}}
  slow: {type: noop, takes: 100ms, needs: [quick], foreach: {n: 1..3000}}
"""
    mixed = submit(line, "mixed", text)
    wait_until(lambda: succeeded(line, mixed) >= 2995, "the quick ones have ended", 60)
    urgent = submit(line, "urgent", ONE.format(name="urgent", priority="urgent"))
    created, ended = from_submit_to_end(line, urgent)
    assert line.state(mixed) == "running"
    # by the fleet's own clock: what its 8 slots end meanwhile, however slow the host is
    assert ended_between(line, mixed, created, ended) < CHANGED_S * BUSY_HOST * 8 / 0.1


def test_a_priority_changed_while_it_waits_lets_an_experiment_overtake(line: CommandLine) -> None:
    start_fleet(line, 1, 2)
    many = submit(line, "many", "name: many\ntasks:\n  step: {type: noop, takes: 50ms, foreach: {n: 1..2000}}\n")
    late = submit(line, "late", ONE.format(name="late", priority="low"))
    wait_until(lambda: succeeded(line, many) > 20, "the fleet is at work", 60)
    assert line.state(late) == "running"
    assert succeeded(line, late) == 0
    line.run("priority", late, "urgent")
    line.run("wait", late, "--timeout", "60")
    events = line.run("events", late, "-o", "json").stdout.splitlines()
    times = {event["kind"]: event["time"] for event in map(json.loads, events)}
    changed, ended = (datetime.fromisoformat(times[kind]) for kind in ("priority", "experiment"))
    assert line.state(many) == "running"
    # by the fleet's own clock, as above
    assert ended_between(line, many, changed, ended) < STEADY_S * BUSY_HOST * 2 / 0.05


@pytest.mark.parametrize(("step", "is_starved"), [("1s", False), pytest.param("0s", True, marks=pytest.mark.long)])
def test_with_ageing_a_low_priority_overtakes_what_is_higher_and_came_later(
    line: CommandLine, step: str, is_starved: bool
) -> None:
    line.write("wlmctl.toml", f'[scheduler_options]\nageing_step = "{step}"\n')
    start_fleet(line, 1, 2)
    submit(line, "first", "name: first\ntasks:\n  step: {type: noop, takes: 4s, foreach: {n: 1..2}}\n")
    low = submit(line, "low", "name: low\npriority: low\ntasks:\n  step: {type: noop, foreach: {n: 1..3}}\n")
    line.write("rows.csv", "n\n" + "".join(f"{n}\n" for n in range(60)))
    later = """
name: later
priority: high
params: {n: null}
tasks:
  step: {type: noop, takes: 200ms, foreach: {i: 1..8}}
"""
    line.run("submit", line.write("later.yaml", later), "--params-file", "rows.csv")  # 48 seconds of work

    def left() -> int:
        return len(line.run("status", "-q", "--name", "later", "--state", "running").stdout.split())

    if is_starved:
        wait_until(lambda: left() < 30, "half of the later ones have ended", 90)
        assert line.state(low) == "running"
    else:
        wait_until(lambda: line.state(low) == "succeeded", "the low one has ended", 60)
        assert left() > 0
