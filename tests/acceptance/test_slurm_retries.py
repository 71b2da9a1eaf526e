"""Retries that ask for more, on a real Slurm, as a user sees them; and outputs that a later job of the queue uses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.services.slurm import Slurm
from tests.services.sshd import Farm

SETTINGS = 'batch = "slurm"\nmemory = "1GiB"\n[machines.cluster.batch_options]\nlost_after = "3s"\n'

GROWS = """
name: grows
tasks:
  fit:
    type: job
    machine: cluster
    command: |
      echo "attempt $WLMCTL_ATTEMPT has $SLURM_MEM_PER_NODE" >> witness
      ulimit -v $((SLURM_MEM_PER_NODE * 1024))
      python3 -c 'eaten = bytearray(NEEDS << 20)'
      printf '{"grid": 64}' > grid.json; printf 'loss = 3.5e-1\\nloss = 2.50E-01\\n' > log
    resources: {memory: 200MiB}
    retry: {limit: 5, delay: 0, memory: {resources: {memory: x2}}}
    outputs:
      grid: {file: grid.json, json: $.grid}
      loss: {file: log, regex: 'loss = (\\S+)', as: float}
  use:
    type: job
    needs: [fit]
    machine: cluster
    command: echo "${tasks.fit.outputs.grid} ${tasks.fit.outputs.loss}"
"""


@pytest.fixture
def cli(cluster: Farm, tmp_path: Path) -> Iterator[CommandLine]:
    """A folder whose inventory has the cluster; its largest node is said to have 1 GiB."""
    inventory = cluster.write_inventory(tmp_path / "site", extra={"cluster": SETTINGS})
    line = CommandLine(inventory.folder, inventory.env)
    yield line
    line.close()


def witness(cluster: Farm) -> list[str]:
    (path,) = cluster["cluster"].home.rglob("witness")
    return path.read_text().splitlines()


def test_a_job_that_needs_more_memory_gets_it_and_hands_on_its_values(
    cli: CommandLine, cluster: Farm, slurm: Slurm
) -> None:
    cli.run("run", cli.write("grows.yaml", GROWS.replace("NEEDS", "500")))
    fit = cli.tasks("grows")["fit"]
    assert (fit["attempt"], fit["changed_resources"]) == (3, {"memory_bytes": 800 << 20})
    assert fit["outputs"] == {"grid": 64, "loss": 0.25}
    assert witness(cluster)[-3:] == ["attempt 1 has 200", "attempt 2 has 400", "attempt 3 has 800"]
    events = map(json.loads, cli.run("events", "grows", "fit", "-o", "json").stdout.splitlines())
    told = [event["reason"] for event in events if event["to"] == "waiting"]
    assert told == [
        f"exit code 1: MemoryError; attempt {n} asks for {new} of memory, this one had {old} of memory"
        for n, old, new in ((2, "200 MiB", "400 MiB"), (3, "400 MiB", "800 MiB"))
    ]
    (log,) = cli.json("logs", "grows", "use")["logs"]
    assert log["text"] == "64 2.50E-01\n"


def test_a_job_that_had_all_the_memory_of_the_largest_node_fails_and_says_so(cli: CommandLine, slurm: Slurm) -> None:
    name = cli.write("grows.yaml", GROWS.replace("NEEDS", "3000").replace("200MiB", "600MiB"))
    planned = cli.run("plan", name).stdout
    assert "after failures of the class memory: 600 MiB of memory, then 1.0 GiB of memory, then no more" in planned
    cli.run("run", name, code=1)
    fit = cli.tasks("grows")["fit"]
    assert (fit["state"], fit["attempt"], fit["failure_class"]) == ("failed", 2, "memory")
    why = "it had 1.0 GiB of memory, and machine cluster has no more: no further attempt"
    assert fit["reason"] == f"exit code 1: MemoryError; {why}"
    explained = cli.run("explain", "grows", "fit").stdout
    assert why in explained
    assert "no other attempt: its machine has no more of what its retry asks for" in explained
