"""Orders to thousands of tasks that are under way in a fleet take effect at once."""

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

#: What is promised for an order, in seconds; a test allows three times as much.
ORDER_S, BUSY_HOST = 1.0, 3

MANY = 5_000


@pytest.fixture
def line(tmp_path: Path, vhost: Vhost) -> Iterator[CommandLine]:
    """A fleet of two workers, and an experiment all of whose tasks are deferred."""
    line = CommandLine(tmp_path, {"WLMCTL_BROKER": vhost.url, **noop.install(tmp_path / "plugin")})
    line.write("wlmctl.toml", f'[machines.local]\nscratch = "{tmp_path}/scratch"\ncpus = {MANY}\n')
    line.start("orchestrator")
    for number in range(2):
        line.start("worker", "--name", f"w{number}", "--slots", "4")
    wait_until(lambda: len(line.json("worker", "list")["workers"]) == 2, "the workers are known", 60)
    yield line
    line.close()


def counts(line: CommandLine, name: str) -> dict[str, int]:
    found: dict[str, int] = next(
        each["tasks_by_state"] for each in line.json("status")["experiments"] if each["name"] == name
    )
    return found


def seconds_between(line: CommandLine, identifier: str, first: str, last: str) -> float:
    """From the one state of the experiment to the other, by its events."""
    events = [json.loads(text) for text in line.run("events", identifier, "-o", "json").stdout.splitlines()]
    at = {each["to"]: datetime.fromisoformat(each["time"]) for each in events if each["kind"] == "experiment"}
    return (at[last] - at[first]).total_seconds()


def test_thousands_of_deferred_tasks_are_cancelled_at_once(line: CommandLine) -> None:
    text = f"name: many\ntasks:\n  job: {{type: endless, foreach: {{n: 1..{MANY}}}}}\n"
    identifier = line.run("submit", line.write("many.yaml", text)).stdout.strip()
    wait_until(lambda: counts(line, "many") == {"deferred": MANY}, "all of them are under way", 60)
    line.run("cancel", identifier)
    line.run("wait", identifier, "--timeout", "60", code=None)
    assert counts(line, "many") == {"cancelled": MANY}
    assert seconds_between(line, identifier, "cancelling", "cancelled") < ORDER_S * BUSY_HOST
