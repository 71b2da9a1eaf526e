"""Steps that outlast the broker's patience, and an orchestrator that is away meanwhile: each is done once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.services.rabbitmq import RabbitNode, open_node
from tests.waiting import wait_until

ACK_TIMEOUT_S, LEASE_S = 10, 6

#: An environment's commands run in the step itself, which keeps its message or its lease until they end.
FILE = """
name: long
tasks:
  prepare:
    type: environment
    commands: ["echo x >> {folder}/began; while [ ! -e {folder}/go ]; do sleep 0.1; done; echo x >> {folder}/ended"]
  after: {{type: job, needs: [prepare], command: "true"}}
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RabbitNode]:
    with open_node(tmp_path / "node", [f"consumer_timeout = {ACK_TIMEOUT_S * 1000}"]) as node:
        yield node


@pytest.mark.long
def test_a_channel_that_is_closed_since_ack_timeout_is_too_long_is_told_by_doctor(
    node: RabbitNode, tmp_path: Path
) -> None:
    node.set_ack_timeout(2000)
    folder = tmp_path / "work"
    folder.mkdir()
    line = CommandLine(folder, {"WLMCTL_BROKER": node.vhost().url})
    line.write("long.yaml", FILE.format(folder=folder))
    try:
        line.start("orchestrator")
        line.start("worker", "--name", "w", "--slots", "1")
        wait_until(lambda: len(line.json("worker", "list")["workers"]) == 1, "the worker is known", 60)
        identifier = line.run("submit", "long.yaml").stdout.strip()

        def told() -> list[str]:
            found = [check for check in line.json("doctor", code=None)["checks"] if "406" in check["text"]]
            return [check["text"] for check in found if check["level"] == "problem"]

        wait_until(lambda: bool(told()), "doctor tells of the closed channel", 60)
        (folder / "go").touch()
        assert line.run("wait", identifier, "--timeout", "60").stdout == f"{identifier} succeeded\n"
        assert (folder / "began").read_text() == "x\n"
        assert told()[0].startswith("worker w on ")
        assert "2000 ms" in told()[0]
    finally:
        line.close()


def test_a_step_longer_than_the_ack_timeout_and_three_leases_without_an_orchestrator_is_done_once(
    node: RabbitNode, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    line = CommandLine(folder, {"WLMCTL_BROKER": node.vhost().url})
    line.write("wlmctl.toml", f'ack_timeout = "{ACK_TIMEOUT_S}s"\nlease = "{LEASE_S}s"\n')
    line.write("long.yaml", FILE.format(folder=folder))
    try:
        leader = line.start("orchestrator")
        workers = [line.start("worker", "--name", name, "--slots", "2") for name in ("one", "two")]
        wait_until(lambda: len(line.json("worker", "list")["workers"]) == 2, "the workers are known", 60)
        identifier = line.run("submit", "long.yaml").stdout.strip()
        wait_until(lambda: (folder / "began").exists(), "the step has begun", 60)
        began_s = time.monotonic()
        leader.kill()
        away_until_s = began_s + 3 * LEASE_S
        wait_until(lambda: time.monotonic() > away_until_s, "three leases have run out", 3 * LEASE_S + 5)
        line.start("orchestrator")
        long_s = began_s + 1.4 * ACK_TIMEOUT_S
        wait_until(lambda: time.monotonic() > long_s, "the broker has lost its patience", 2 * ACK_TIMEOUT_S)
        (folder / "go").touch()
        assert line.run("wait", identifier, "--timeout", "60").stdout == f"{identifier} succeeded\n"
        assert (folder / "began").read_text() == "x\n"
        assert (folder / "ended").read_text() == "x\n"
        assert {task["attempt"] for task in line.tasks(identifier).values()} == {1}
        assert "ack time-out" not in "".join(line.said(worker) for worker in workers)
    finally:
        line.close()
