"""``wlmctl plan --script``: what is printed is what a machine gets."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.services.slurm import Slurm
from tests.services.sshd import Farm

FILE = """
name: pi
params: {samples: 100}
tasks:
  setup: {type: environment, machine: cluster, commands: ["true"]}
  simulate:
    type: job
    needs: [setup]
    machine: cluster
    foreach: {seed: 1..2}
    directory: work
    command: "echo ${samples} ${seed} ${tasks.setup.folder} > out-${seed}"
    env: {TITLE: "a 'title'"}
    resources: {cpus: 2, memory: 64MiB, walltime: 5m}
    batch: {slurm: {partition: main}}
  here: {type: job, command: echo here}
"""


@pytest.fixture
def cli(cluster: Farm, tmp_path: Path) -> Iterator[CommandLine]:
    settings = 'batch = "slurm"\npreamble = "export SITE=here"\n'
    inventory = cluster.write_inventory(tmp_path / "site", extra={"cluster": settings})
    line = CommandLine(inventory.folder, inventory.env)
    line.write("pi.yaml", FILE)
    yield line
    line.close()


def plain(text: str) -> str:
    """Without quotes, which depend on the id, and with words for what is drawn anew."""
    text = re.sub(r"\bpi-[a-z2-7]{6}\b", "<id>", text.replace("'", ""))
    text = re.sub(r"(?<=token=)[0-9a-f]{32}|(?<=TOKEN=)[0-9a-f]{32}", "0" * 32, text, flags=re.IGNORECASE)
    return re.sub(r"\bnonce=[0-9a-f]+", "nonce=NONCE", text).strip()


def test_the_script_of_a_cluster_job_is_what_the_queue_gets_and_runs(
    cli: CommandLine, cluster: Farm, slurm: Slurm
) -> None:
    planned = cli.json("plan", "--script", "simulate[2]", "pi.yaml")
    assert list(cluster["cluster"].home.glob(".wlmctl/*")) == [], "nothing is written"
    assert (planned["task"], planned["machine"], planned["batch"]) == ("simulate[2]", "cluster", "slurm")
    assert planned["words"] == [
        "sbatch", "--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=2", "--mem=64M", "--time=5", "--partition=main",
    ]  # fmt: skip
    assert "echo 100 2 ${tasks.setup.folder} > out-2\n" in planned["script"]
    cli.run("run", "pi.yaml")
    (private,) = cluster["cluster"].home.glob(".wlmctl/pi-*/.wlmctl/simulate?2?/1")
    (script,) = private.glob("script.*")
    folder = cli.tasks("pi")["setup"]["folder"]
    assert plain(script.read_text()) == plain(planned["script"].replace("${tasks.setup.folder}", folder))
    (batch,) = private.glob("batch.*")
    assert plain(batch.read_text()) == plain(planned["batch_script"])


def test_as_text_it_is_shell_that_says_what_is_what(cli: CommandLine) -> None:
    shown = cli.run("plan", "--script", "simulate", "pi.yaml").stdout
    assert shown.startswith(
        "# task simulate[1] on machine cluster (slurm)\n# submitted, held, recorded and released: sbatch "
    )
    assert "\n#!/bin/sh\n" in shown
    assert "\n# script.NONCE, which runs by bash -l:\n" in shown
    here = cli.run("plan", "--script", "here", "pi.yaml").stdout
    assert here.startswith("# task here on machine local (shell)\nexport WLMCTL_EXPERIMENT='<id>'\n")
    assert here.endswith("echo here\n")
    for text in (shown, here):
        assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0


def test_what_has_no_script_is_one_line(cli: CommandLine) -> None:
    for task, code, said in (
        ("setup", 2, "task setup: a task of type environment has no batch script"),
        ("simluate", 3, "no task 'simluate' (did you mean 'simulate'?)"),
        ("simulate[9]", 3, "task simulate has no instance '9' (the first is simulate[1])"),
        ("simulate[", 2, "expected a task: NAME"),
    ):
        done = cli.run("plan", "--script", task, "pi.yaml", code=code)
        assert said in done.stderr
        assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)
    cli.write("big.yaml", FILE.replace("cpus: 2", "cpus: 2, gpus: 4"))
    assert "--gres=gpu:4" in cli.json("plan", "--script", "simulate", "big.yaml")["words"]


TOGETHER = """
name: pi
tasks:
  short: {type: job, machine: cluster, foreach: {n: 1..3}, pack: 3, command: "true", resources: {walltime: 2m}}
  alike: {type: job, machine: cluster, foreach: {n: 1..4}, command: "true", resources: {walltime: 2m}}
"""


def test_of_a_task_whose_instances_go_together_it_is_the_script_of_the_pack_or_array(
    cli: CommandLine, cluster: Farm
) -> None:
    cli.write("pi.yaml", TOGETHER)
    pack, array = cli.json("plan", "--script", "short", "pi.yaml"), cli.json("plan", "--script", "alike", "pi.yaml")
    assert (pack["kind"], pack["instances"], pack["words"][-1]) == ("pack", 3, "--time=7")
    assert (array["kind"], array["instances"], array["words"][:2]) == ("array", 4, ["sbatch", "--array=0,1,2,3"])
    alone = cli.json("plan", "--script", "short[2]", "pi.yaml")
    assert (alone["kind"], alone["instances"], alone["words"][-1]) == ("single", 1, "--time=2")
    cli.run("run", "pi.yaml")
    for task, planned in (("short", pack), ("alike", array)):
        (made,) = cluster["cluster"].home.glob(f".wlmctl/pi-*/.wlmctl/{task}?1?/1/batch.*")
        assert plain(made.read_text()) == plain(planned["batch_script"])
