"""Machines that a user holds: nothing starts there and nobody logs in, in any process, until they are released."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.services.rabbitmq import Vhost
from tests.services.sshd import Farm, Sshd, open_farm, require_sshd
from tests.waiting import wait_until
from wlmctl.orchestrator.deferred import POLL_WAIT_S

JOBS = """
name: {name}
tasks:
  far: {{type: job, machine: alpha, command: 'echo far'}}
  near: {{type: job, command: 'echo near'}}
"""


@pytest.fixture(scope="module")
def own_farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    require_sshd()
    with open_farm(tmp_path_factory.mktemp("holds") / "farm", ["alpha"]) as farm:
        yield farm


@pytest.fixture
def alpha(own_farm: Farm) -> Sshd:
    return own_farm["alpha"]


@pytest.fixture
def cli(own_farm: Farm, tmp_path: Path) -> Iterator[CommandLine]:
    inventory = own_farm.write_inventory(tmp_path / "work")
    line = CommandLine(inventory.folder, inventory.env)
    yield line
    line.close()


def kinds(cli: CommandLine, identifier: str) -> list[str]:
    told = map(json.loads, cli.run("events", identifier, "-o", "json").stdout.splitlines())
    return [event["kind"] for event in told if event["kind"] in ("held", "released")]


def state(cli: CommandLine, identifier: str, task: str) -> str:
    return str(cli.tasks(identifier)[task]["state"])


def is_done(cli: CommandLine, identifier: str, task: str) -> bool:
    return state(cli, identifier, task) == "succeeded"


def is_held(cli: CommandLine, identifier: str) -> bool:
    return kinds(cli, identifier) == ["held"]


def logins(machine: Sshd) -> int:
    return machine.log_text.count("Accepted")


@pytest.mark.long
def test_a_run_and_an_orchestrator_leave_a_held_machine_alone_until_it_is_released(
    cli: CommandLine, alpha: Sshd
) -> None:
    before = logins(alpha)
    said = cli.run("machine", "hold", "alpha", "--reason", "new disks").stderr
    assert "machine alpha is held by " in said
    assert said.endswith(": new disks\n")
    daemon = cli.start("orchestrator", "--slots", "2")
    submitted = cli.run("submit", cli.write("s.yaml", JOBS.format(name="sent"))).stdout.strip()
    running = cli.start("run", cli.write("r.yaml", JOBS.format(name="here")))
    wait_until(lambda: len(cli.ids()) == 2, "both experiments", 60)
    both = [submitted, next(name for name in cli.ids() if name != submitted)]
    for identifier in both:
        wait_until(partial(is_done, cli, identifier, "near"), "what needs no machine is done", 60)
        wait_until(partial(is_held, cli, identifier), "its event", 60)
        assert state(cli, identifier, "far") == "ready"
        assert "held:" in cli.run("status", identifier).stdout
        (shown,) = cli.json("status", identifier)["experiments"]
        assert shown["held"]["alpha"]["reason"] == "new disks"
        explained = cli.run("explain", identifier, "far").stdout
        assert ": new disks; wlmctl machine release alpha ends that" in explained
    assert "new disks" in cli.run("machine", "list").stdout
    assert logins(alpha) == before, "nobody has logged in, not even to probe it"
    assert cli.run("machine", "release", "alpha").stderr == "wlmctl: machine alpha is released\n"
    assert running.wait(60) == 0, cli.said(running)
    assert "machine alpha is held, its tasks wait: by " in cli.said(running)
    assert "machine alpha is released" in cli.said(running)
    assert cli.run("wait", submitted, "--timeout", "60").returncode == 0
    for identifier in both:
        assert kinds(cli, identifier) == ["held", "released"]
        assert "  held  (machine alpha: by " in cli.run("events", identifier).stdout
        assert cli.tasks(identifier)["far"]["attempt"] == 1
    daemon.terminate()
    assert daemon.wait(60) in (0, 143)


@pytest.mark.long
def test_a_job_that_runs_goes_on_while_its_machine_is_held_and_is_looked_at_afterwards(
    cli: CommandLine, alpha: Sshd
) -> None:
    command = "until [ -e ~/go ]; do sleep 0.1; done; echo end > ~/ended"
    text = f"name: long\ntasks: {{it: {{type: job, machine: alpha, command: '{command}'}}}}\n"
    running = cli.start("run", cli.write("long.yaml", text))
    wait_until(lambda: cli.ids() and state(cli, cli.ids()[0], "it") == "deferred", "the job", 60)
    cli.run("machine", "hold", "alpha", "--until", "+1h")
    wait_until(lambda: kinds(cli, cli.ids()[0]) == ["held"], "its event", 60)
    over_s = time.monotonic() + 2 * POLL_WAIT_S
    wait_until(lambda: time.monotonic() > over_s, "the end of a poll that was under way", 60)
    (alpha.home / "go").touch()
    wait_until((alpha.home / "ended").exists, "the job's end", 60)
    assert state(cli, cli.ids()[0], "it") == "deferred"
    (listed,) = [row for row in cli.json("machine", "list")["machines"] if row["name"] == "alpha"]
    assert listed["held"]["until"] > listed["held"]["since"]
    cli.run("machine", "hold", "alpha", "--until", "+1s")
    assert running.wait(60) == 0, cli.said(running)
    assert "held" not in cli.run("status", cli.ids()[0]).stdout
    (listed,) = [row for row in cli.json("machine", "list")["machines"] if row["name"] == "alpha"]
    assert listed["held"] is None


@pytest.mark.long
def test_a_release_has_a_machine_that_does_not_answer_tried_at_once(cli: CommandLine, alpha: Sshd) -> None:
    alpha.stop()
    try:
        running = cli.start("run", cli.write("r.yaml", JOBS.format(name="away")))
        wait_until(lambda: "machine alpha is held" in cli.said(running), "the hold", 60)
        due = wait_until(lambda: _far_probe(cli), "a probe that is far away", 60)
    finally:
        alpha.start()
    done = cli.run("machine", "release", "alpha")
    assert "does not answer: whoever works tries it again now" in done.stderr
    assert running.wait(60) == 0, cli.said(running)
    told = map(json.loads, cli.run("events", cli.ids()[0], "-o", "json").stdout.splitlines())
    (released,) = [event["time"] for event in told if event["kind"] == "released"]
    assert released < due, "before that probe was due"


def _far_probe(cli: CommandLine) -> str | None:
    """When alpha is to be probed, where that is far enough away."""
    (row,) = [row for row in cli.json("machine", "list")["machines"] if row["name"] == "alpha"]
    due = row["held"] and row["held"]["probe_due"]
    return due if due and datetime.fromisoformat(due) - datetime.now(UTC) > timedelta(seconds=10) else None


def test_what_cannot_be_held_is_said_in_one_line(cli: CommandLine) -> None:
    for words, code, said in (
        (["hold", "alfa"], 3, "did you mean 'alpha'"),
        (["hold", "local"], 2, "wlmctl pause ID"),
        (["hold", "alpha", "--until", "2001-01-01T00:00:00Z"], 2, "a time to come"),
        (["hold", "alpha", "--until", "2101-01-01T00:00:00"], 2, "with its offset"),
        (["hold", "alpha", "--until", "soon"], 2, "'soon'"),
        (["hold", "alpha", "--reason", "a\nb"], 2, "one line of text"),
        (["release", "alfa"], 3, "did you mean 'alpha'"),
    ):
        done = cli.run("machine", *words, code=code)
        assert said in done.stderr, done.stderr
    assert cli.run("machine", "release", "alpha").stderr == "wlmctl: machine alpha is not held\n"
    held = cli.json("machine", "hold", "alpha", "--until", "2101-01-01T00:00:00+01:00")["machines"]
    assert held[0]["held"]["until"] == "2100-12-31T23:00:00.000Z"
    released = cli.json("machine", "release", "alpha")["machines"]
    assert released == [{"name": "alpha", "released": True, "held": None}]


@pytest.mark.long
def test_a_fleet_with_a_held_machine_uses_the_other_one_of_its_group_and_releases_it_for_who_named_it(
    own_farm: Farm, alpha: Sshd, vhost: Vhost, tmp_path: Path
) -> None:
    inventory = own_farm.write_inventory(tmp_path / "fleet")
    with inventory.config.open("a") as config:
        config.write('[groups.lab]\nmachines = ["alpha", "local"]\n')
    cli = CommandLine(inventory.folder, {**inventory.env, "WLMCTL_BROKER": vhost.url})
    try:
        cli.run("machine", "hold", "alpha")
        before = logins(alpha)
        cli.start("orchestrator")
        for number in range(2):
            cli.start("worker", "--name", f"w{number}", "--slots", "2")
        wait_until(lambda: len(cli.json("worker", "list")["workers"]) == 2, "the workers are known", 60)
        any_of = cli.write("any.yaml", "name: any\ntasks: {it: {type: job, machine: lab, command: 'true'}}\n")
        bound = cli.run("submit", any_of).stdout.strip()
        named = cli.run("submit", cli.write("far.yaml", JOBS.format(name="far"))).stdout.strip()
        cli.run("wait", bound, "--timeout", "60")
        assert cli.tasks(bound)["it"]["machine"] == "local"
        wait_until(partial(is_held, cli, named), "its event", 60)
        assert logins(alpha) == before
        cli.run("machine", "release", "lab", code=2)  # local is one of them, and cannot be held
        cli.run("machine", "release", "alpha")
        cli.run("wait", named, "--timeout", "60")
        assert cli.tasks(named)["far"]["attempt"] == 1
    finally:
        cli.close()
