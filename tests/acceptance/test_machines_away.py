"""Machines that go away while experiments run on them: real servers, stopped and started again."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import CommandLine
from tests.services.relay import Relay
from tests.services.sshd import Farm, Sshd, open_farm, require_sshd
from tests.waiting import wait_until

FINAL = {"succeeded", "failed", "cancelled"}

#: Until the test lets it go on.
WAITS = "until [ -e ~/go ]; do sleep 0.1; done; "


@pytest.fixture
def own_farm(tmp_path: Path) -> Iterator[Farm]:
    require_sshd()
    with open_farm(tmp_path / "farm") as farm:
        yield farm


@pytest.fixture
def alpha(own_farm: Farm) -> Sshd:
    return own_farm["alpha"]


@pytest.fixture
def cli(own_farm: Farm, tmp_path: Path) -> Iterator[CommandLine]:
    inventory = own_farm.write_inventory(tmp_path / "work", extra=dict.fromkeys(own_farm.machines, "cpus = 2"))
    line = CommandLine(inventory.folder, inventory.env)
    yield line
    line.close()


def lines(cli: CommandLine, number: int = 0) -> list[dict[str, Any]]:
    """What a started `run -o json` has said so far."""
    text = (cli.folder / f"started-{number}.out").read_text()
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def kinds(cli: CommandLine, number: int = 0) -> Counter[str]:
    return Counter(line["kind"] for line in lines(cli, number))


def assert_done(cli: CommandLine, process: subprocess.Popen[str], *, timeout_s: float = 60) -> None:
    assert process.wait(timeout_s) == 0, cli.said(process)


def assert_no_attempt_spent(cli: CommandLine, identifier: str) -> None:
    tasks = cli.tasks(identifier)
    assert {name: (task["state"], task["attempt"]) for name, task in tasks.items()} == dict.fromkeys(
        tasks, ("succeeded", 1)
    )


def test_a_machine_that_is_away_from_the_start_is_waited_for_while_others_go_on(cli: CommandLine, alpha: Sshd) -> None:
    cli.write(
        "a.yaml",
        "name: a\ntasks:\n"
        "  j: {type: job, machine: alpha, foreach: {n: 1..3}, command: 'echo ${n} >> witness; cat witness'}\n"
        "  b: {type: job, machine: beta, command: echo here}\n",
    )
    alpha.stop()
    process = cli.start("run", "-o", "json", "a.yaml")
    wait_until(lambda: kinds(cli)["held"], "alpha is held")
    [identifier] = cli.ids()
    wait_until(lambda: cli.tasks(identifier)["b"]["state"] == "succeeded", "beta goes on")
    assert "held:" in cli.run("status", identifier).stdout
    alpha.start()
    assert_done(cli, process)
    assert_no_attempt_spent(cli, identifier)
    assert (kinds(cli)["held"], kinds(cli)["released"]) == (1, 1)
    held = next(line for line in lines(cli) if line["kind"] == "held")
    assert held["data"]["machine"] == "alpha" if "data" in held else "alpha" in json.dumps(held)
    assert "held:" not in cli.run("status", identifier).stdout


def test_a_job_outlives_the_absence_of_its_machine_and_runs_once(cli: CommandLine, alpha: Sshd) -> None:
    cli.write(
        "long.yaml",
        "name: long\ntasks:\n  j:\n    type: job\n    machine: alpha\n"
        f"    command: 'echo start >> ~/witness; {WAITS}echo end >> ~/witness'\n"
        "    outputs: {w: {file: ~/witness}}\n"
        "  back: {type: stage, needs: [j], from: 'alpha:~/witness', to: 'local:results/'}\n",
    )
    process = cli.start("run", "long.yaml")
    witness = alpha.home / "witness"
    wait_until(witness.exists, "the job has started")
    alpha.stop()
    wait_until(lambda: "machine alpha is held" in cli.said(process), "alpha is held")
    (alpha.home / "go").touch()
    wait_until(lambda: "end" in witness.read_text(), "the job has ended all the same")
    alpha.start()
    assert_done(cli, process)
    assert_no_attempt_spent(cli, cli.ids()[0])
    assert (cli.folder / "results" / "witness").read_text() == "start\nend\n"
    said = cli.said(process)
    assert said.count("machine alpha is held") == 1
    assert said.count("machine alpha answers again") == 1


def test_two_experiments_wait_for_one_machine_and_both_are_told(cli: CommandLine, alpha: Sshd) -> None:
    text = "name: %s\ntasks: {j: {type: job, machine: alpha, command: '" + WAITS + "echo %s >> ~/witness'}}\n"
    processes = [cli.start("run", "-o", "json", cli.write(f"{name}.yaml", text % (name, name))) for name in "xy"]
    wait_until(lambda: len(alpha.jobs()) >= 2 and len(cli.ids()) == 2, "both jobs run")
    wait_until(lambda: all("deferred" in json.dumps(lines(cli, n)) for n in (0, 1)), "both jobs are known")
    alpha.stop()
    wait_until(lambda: all(kinds(cli, n)["held"] for n in (0, 1)), "both are told")
    (alpha.home / "go").touch()
    alpha.start()
    for process in processes:
        assert_done(cli, process)
    assert sorted((alpha.home / "witness").read_text().split()) == ["x", "y"]
    for number, identifier in enumerate(sorted(cli.ids())):
        assert_no_attempt_spent(cli, identifier)
        assert kinds(cli, number)["held"] == 1


def test_a_transfer_whose_connection_is_cut_is_tried_again_and_leaves_nothing_half_made(
    cli: CommandLine, alpha: Sshd
) -> None:
    content = bytes(range(256)) * 4096 * 300
    (cli.folder / "big").write_bytes(content)
    cli.write("s.yaml", "name: s\ntasks: {s: {type: stage, from: 'local:big', to: 'alpha:~/big'}}\n")
    process = cli.start("run", "-o", "json", "s.yaml")
    wait_until(lambda: any(path.stat().st_size > 1 << 20 for path in alpha.home.glob(".big.wlm-*")), "bytes arrive")
    alpha.kill_sessions()
    assert_done(cli, process)
    assert (alpha.home / "big").read_bytes() == content
    assert [path.name for path in alpha.home.glob("*big*")] == ["big"]
    task = cli.tasks(cli.ids()[0])["s"]
    assert task["state"] == "succeeded"
    assert task["attempt"] in (1, 2), "the cut is an infrastructure failure, or was mended within the attempt"


def test_a_server_stopped_in_the_middle_of_a_transfer_is_waited_for(
    cli: CommandLine, own_farm: Farm, alpha: Sshd
) -> None:
    (cli.folder / "big").write_bytes(b"x" * (60 << 20))
    cli.write("s.yaml", "name: s\ntasks: {s: {type: stage, from: 'local:big', to: 'alpha:~/big'}}\n")
    with Relay(alpha.address, alpha.port) as relay:
        own_farm.write_inventory(cli.folder, ways={"alpha": (relay.address, relay.port)})
        relay.fail("stall", "up", 30 << 20)
        process = cli.start("run", "s.yaml")
        wait_until(lambda: relay.has_failed, "a part has arrived", 60)
        alpha.stop()
        wait_until(lambda: "held" in cli.said(process) or "tries again" in cli.said(process), "it is noticed", 60)
        alpha.start()
        assert_done(cli, process)
    assert (alpha.home / "big").stat().st_size == 60 << 20
    assert [path.name for path in alpha.home.glob("*big*")] == ["big"]


def test_a_cancel_is_proven_when_the_machine_answers_again(cli: CommandLine, alpha: Sshd) -> None:
    cli.write("c.yaml", "name: c\ntasks: {j: {type: job, machine: alpha, command: 'echo $$ > ~/pid; sleep 600'}}\n")
    process = cli.start("run", "c.yaml")
    pid = int(wait_until(lambda: _read(alpha.home / "pid"), "the job has started"))
    wait_until(lambda: cli.tasks(cli.ids()[0])["j"]["state"] == "deferred", "the job is known")
    alpha.stop()
    cli.run("cancel", cli.ids()[0])
    wait_until(lambda: "machine alpha is held" in cli.said(process), "alpha is held")
    assert cli.state(cli.ids()[0]) == "cancelling"
    assert _is_alive(pid)
    alpha.start()
    assert process.wait(60) == 5
    assert not _is_alive(pid)
    assert cli.tasks(cli.ids()[0])["j"]["state"] == "cancelled"


def test_a_timeout_is_enforced_when_the_machine_answers_again(cli: CommandLine, alpha: Sshd) -> None:
    cli.write(
        "t.yaml",
        "name: t\ntasks: {j: {type: job, machine: alpha, timeout: 6, command: 'echo $$ > ~/pid; sleep 600'}}\n",
    )
    process = cli.start("run", "t.yaml")
    pid = int(wait_until(lambda: _read(alpha.home / "pid"), "the job has started"))
    alpha.stop()
    wait_until(lambda: "machine alpha is held" in cli.said(process), "alpha is held")
    alpha.start()
    assert process.wait(60) == 1
    assert not _is_alive(pid)
    task = cli.tasks(cli.ids()[0])["j"]
    assert (task["state"], task["failure_class"], task["attempt"]) == ("failed", "time", 1)


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
