"""A cluster is treated politely by all workers together: proven from the logs of its sshd and its controller."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.services.rabbitmq import Vhost
from tests.services.slurm import Slurm
from tests.services.sshd import Farm
from tests.services.sshd_log import VERBOSE, Traffic
from tests.waiting import wait_until

MOST, WORKERS, JOBS = 3, 8, 1_000
SETTINGS = f'batch = "slurm"\nmax_connections = {MOST}\n'


@pytest.fixture
def line(cluster: Farm, slurm: Slurm, vhost: Vhost, tmp_path: Path) -> Iterator[CommandLine]:
    """A fleet of many workers, all of which may use the cluster ``counted``."""
    slurm.greet(cluster.add("counted", options=VERBOSE))
    inventory = cluster.write_inventory(tmp_path / "site", extra={"counted": SETTINGS})
    line = CommandLine(inventory.folder, {**inventory.env, "WLMCTL_BROKER": vhost.url})
    line.start("orchestrator")
    for number in range(WORKERS):
        line.start("worker", "--name", f"w{number}", "--slots", "4")
    wait_until(lambda: len(line.json("worker", "list")["workers"]) == WORKERS, "all workers are known", 60)
    yield line
    line.close()


def listings(slurm: Slurm) -> int:
    """How often the controller was asked for all jobs."""
    found = re.search(r"REQUEST_JOB_INFO +\(\d+\) count:(\d+)", slurm.run("sdiag"))
    return int(found[1]) if found else 0


@pytest.mark.long
@pytest.mark.timeout(700)
def test_eight_workers_and_a_thousand_jobs_take_few_logins_commands_and_listings(
    line: CommandLine, cluster: Farm, slurm: Slurm
) -> None:
    text = f"{{type: job, machine: counted, foreach: {{n: 1..{JOBS}}}, command: 'echo ${{n}} >> witness; sleep 1'}}"
    before, began_s = listings(slurm), time.monotonic()
    identifier = line.run("submit", line.write("many.yaml", f"name: many\ntasks: {{it: {text}}}\n")).stdout.strip()
    line.run("wait", identifier, "--timeout", "600", timeout_s=620)
    took_s = time.monotonic() - began_s
    assert {(task["state"], task["attempt"]) for task in line.tasks(identifier).values()} == {("succeeded", 1)}
    (witness,) = cluster["counted"].home.rglob("witness")
    assert sorted(map(int, witness.read_text().split())) == list(range(1, JOBS + 1)), "each has run once"

    traffic = Traffic.of(cluster["counted"].log_text)
    assert traffic.most_at_once <= MOST
    assert traffic.logins <= 5
    assert traffic.commands <= max(150, took_s), "this host may be busy: a look each second, and few submits"
    # a look has one, and a submit two at most, which are fewer than one in five seconds
    assert listings(slurm) - before <= 1.2 * took_s + 10

    idle = Traffic.of(cluster["counted"].log_text).logins
    quiet_s = time.monotonic() + 60
    wait_until(lambda: time.monotonic() > quiet_s, "a minute without work", 70)
    assert Traffic.of(cluster["counted"].log_text).logins == idle, "nobody logs in while there is nothing to do"
