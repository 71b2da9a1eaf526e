"""Whole experiments on a real Slurm cluster behind an sshd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.services.slurm import Slurm
from tests.services.sshd import Farm
from tests.waiting import wait_until

SETTINGS = 'batch = "slurm"\n[machines.cluster.batch_options]\nlost_after = "3s"\n'

SWEEP = """
name: sweep
tasks:
  setup: {type: environment, machine: cluster, files: {run.sh: {content: "echo $(( $1 * $1 )) > square-$1\\n"}}}
  square:
    type: job
    needs: [setup]
    machine: cluster
    foreach: {n: 1..6}
    resources: {cpus: 2, memory: 64MiB, walltime: 5m}
    command: "sh run.sh ${n}; echo node $SLURM_JOB_NODELIST, $SLURM_CPUS_PER_TASK cpus >&2"
    outputs: {value: {file: "square-${n}"}}
  collect: {type: stage, needs: [square], from: "cluster:square-*", to: "local:results/"}
"""


@pytest.fixture
def cli(cluster: Farm, tmp_path: Path) -> Iterator[CommandLine]:
    """A folder whose inventory has the cluster."""
    inventory = cluster.write_inventory(tmp_path / "site", extra={"cluster": SETTINGS})
    line = CommandLine(inventory.folder, inventory.env)
    yield line
    line.close()


def one(text: str) -> str:
    return f"name: one\ntasks:\n  it: {{type: job, machine: cluster, {text}}}\n"


def test_a_sweep_runs_in_the_queue_and_its_results_come_back(cli: CommandLine, slurm: Slurm) -> None:
    cli.run("run", cli.write("sweep.yaml", SWEEP))
    results = sorted((cli.folder / "results").iterdir())
    assert [path.read_text().strip() for path in results] == ["1", "4", "9", "16", "25", "36"]
    tasks = cli.tasks("sweep")
    assert tasks["square[3]"]["state"] == "succeeded"
    (log,) = cli.json("logs", "sweep", "square[3]", "--stderr")["logs"]
    assert log["text"].startswith("node n")
    assert log["text"].endswith("2 cpus\n")


def test_a_job_larger_than_the_largest_node_is_refused_by_name(cli: CommandLine) -> None:
    done = cli.run("run", cli.write("one.yaml", one("command: 'true', resources: {cpus: 9}")), code=1)
    assert "8" in done.stderr
    assert "cluster" in done.stderr


def test_what_slurm_refuses_fails_with_slurms_own_words(cli: CommandLine, slurm: Slurm) -> None:
    cli.run("run", cli.write("one.yaml", one("command: 'true', batch: {slurm: {partition: nowhere}}")), code=1)
    assert "invalid partition specified: nowhere" in cli.tasks("one")["it"]["reason"]


def test_what_wlmctl_does_not_leave_to_slurm_is_refused_by_its_line(cli: CommandLine) -> None:
    wrong = cli.write("one.yaml", one("command: 'true', batch: {slurm: {extra: ['--requeue']}}"))
    for command in ("validate", "plan", "run", "submit"):
        refused = cli.run(command, wrong, code=2).stderr
        assert refused.startswith("one.yaml:3: tasks.it.batch.slurm.extra: '--requeue' is refused: ")
        assert "would run twice" in refused
    assert cli.ids() == []


def test_a_cancelled_experiment_leaves_nothing_in_the_queue(cli: CommandLine, slurm: Slurm) -> None:
    text = "command: 'touch began-${n}; sleep 600', foreach: {n: 1..20}, resources: {cpus: 4}"
    running = cli.start("run", cli.write("one.yaml", one(text)))
    wait_until(lambda: [row[1] for row in slurm.queue() if row[1] != "COMPLETED"].count("RUNNING") == 4, "jobs", 60)
    cli.run("cancel", cli.ids()[0])
    assert running.wait(60) == 5
    ended = {"COMPLETED", "CANCELLED"}
    assert {row[1] for row in slurm.queue()} <= {*ended, "COMPLETING"}
    wait_until(lambda: {row[1] for row in slurm.queue()} <= ended, "Slurm has cleaned up behind them")
    ends = {(task["state"], task["reason"]) for task in cli.tasks("one").values()}
    assert ends <= {("cancelled", "cancelled"), ("cancelled", "cancelled before it started")}


def test_a_job_that_somebody_cancels_in_slurm_says_so_and_is_not_tried_again(
    cli: CommandLine, slurm: Slurm, cluster: Farm
) -> None:
    running = cli.start("run", cli.write("one.yaml", one("command: 'touch begun; sleep 600'")))
    # before its command has begun, a cancel cannot be told from a launch that has failed
    wait_until(lambda: list(cluster["cluster"].home.rglob("begun")), "the job's command", 60)
    for number, state, _ in slurm.queue():
        if state == "RUNNING":
            slurm.run("scancel", number)
    assert running.wait(60) == 1
    (task,) = cli.tasks("one").values()
    assert task["reason"] == "cancelled in Slurm, not by wlmctl"
    assert task["attempt"] == 1


def test_explain_says_what_the_queue_says(cli: CommandLine, slurm: Slurm) -> None:
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    try:
        running = cli.start("run", cli.write("one.yaml", one("command: 'true'")))
        wait_until(lambda: "PartitionDown" in cli.run("explain", *cli.ids()[:1], "it", code=None).stdout, "the reason")
    finally:
        slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    assert running.wait(60) == 0


def test_a_run_that_was_killed_finds_its_job_again(cli: CommandLine, slurm: Slurm, cluster: Farm) -> None:
    running = cli.start("run", cli.write("one.yaml", one("command: 'echo ran >> witness; sleep 5'")))
    wait_until(lambda: list(cluster["cluster"].home.rglob("witness")), "the job's command", 60)
    running.kill()
    running.wait()
    identifier = cli.ids()[0]
    cli.run("resume", identifier)
    (witness,) = cluster["cluster"].home.rglob("witness")
    assert witness.read_text() == "ran\n"
    assert cli.tasks(identifier)["it"]["attempt"] == 1


def test_instances_that_share_jobs_of_the_queue_have_their_own_ends_and_retries(cli: CommandLine, slurm: Slurm) -> None:
    before = {row[0] for row in slurm.queue()}
    text = """
name: packed
tasks:
  it:
    type: job
    machine: cluster
    foreach: {n: 1..8}
    pack: 4
    retry: {limit: 1, delay: 0.1s}
    command: "echo ${n} >> began; [ ${n} != 3 ] || [ $WLMCTL_ATTEMPT = 2 ]"
"""
    cli.run("run", cli.write("packed.yaml", text))
    tasks = cli.tasks("packed")
    assert {name: task["attempt"] for name, task in tasks.items() if task["attempt"] != 1} == {"it[3]": 2}
    assert {task["state"] for task in tasks.values()} == {"succeeded"}
    assert len({row[0] for row in slurm.queue()} - before) == 3, "two packs, and the second attempt"
