"""Whole experiments on Grid Engine, PBS and LSF behind an sshd: a real Grid Engine, and fakes of the others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.services.fake_queue import FakeQueue
from tests.services.gridengine import GridEngine
from tests.services.sshd import open_farm, require_sshd
from tests.waiting import wait_until

NO_ANSWER = re.compile(r"(PBS|LSF) does not answer: (qstat: cannot connect to server|LSF is down)")

SWEEP = """
name: sweep
tasks:
  square:
    type: job
    machine: cluster
    foreach: {n: 1..3}
    resources: {memory: 64MiB, walltime: 5m}
    command: "echo $(( ${n} * ${n} )) > square-${n}; echo out; echo err >&2"
    outputs: {value: {file: "square-${n}"}}
  collect: {type: stage, needs: [square], from: "cluster:square-*", to: "local:results/"}
"""


@contextmanager
def login(folder: Path, system: str, environment: str) -> Iterator[CommandLine]:
    """A folder whose inventory has a cluster, whose logins find the commands of its queue."""
    require_sshd()
    with open_farm(folder / "login", names=["cluster"]) as farm:
        (farm["cluster"].home / ".bashrc").write_text(environment + "\n")
        settings = f'batch = "{system}"\n[machines.cluster.batch_options]\nlost_after = "3s"\n'
        inventory = farm.write_inventory(folder / "site", extra={"cluster": settings})
        line = CommandLine(inventory.folder, inventory.env)
        try:
            yield line
        finally:
            line.close()


def one(text: str) -> str:
    return f"name: one\ntasks:\n  it: {{type: job, machine: cluster, {text}}}\n"


def runs_a_sweep(cli: CommandLine) -> None:
    cli.run("run", cli.write("sweep.yaml", SWEEP))
    results = sorted((cli.folder / "results").iterdir())
    assert [path.read_text().strip() for path in results] == ["1", "4", "9"]
    (log,) = cli.json("logs", "sweep", "square[3]", "--stderr")["logs"]
    assert log["text"] == "err\n"


def refuses(cli: CommandLine, options: str, reason: str) -> None:
    cli.run("run", cli.write("one.yaml", one(f"command: 'true', batch: {options}")), code=1)
    assert reason in cli.tasks(cli.ids()[0])["it"]["reason"]


def test_a_sweep_runs_on_grid_engine_which_refuses_in_its_own_words(gridengine: GridEngine, tmp_path: Path) -> None:
    with login(tmp_path, "sge", gridengine.environment) as cli:
        runs_a_sweep(cli)
        refuses(cli, "{sge: {queue: nowhere}}", 'job requests unknown queue "nowhere"')
        wrong = cli.write("one.yaml", one("command: 'true', batch: {sge: {extra: ['-r', 'y']}}"))
        assert "would run twice" in cli.run("run", wrong, code=2).stderr


@pytest.mark.long
def test_a_cancelled_experiment_leaves_nothing_on_grid_engine(gridengine: GridEngine, tmp_path: Path) -> None:
    with login(tmp_path, "sge", gridengine.environment) as cli:
        text = "command: 'touch began-${n}; sleep 600', foreach: {n: 1..20}"
        running = cli.start("run", cli.write("one.yaml", one(text)))
        wait_until(lambda: gridengine.run("qstat", "-s", "r").count(" r ") >= 4, "jobs", 60)
        cli.run("cancel", cli.ids()[0])
        assert running.wait(110) == 5
        # one that began when it was sealed already ends at once, and its queue notices that some seconds later
        wait_until(lambda: gridengine.run("qstat", "-u", "*") == "", "nothing is left in the queue", 60)
        assert {task["state"] for task in cli.tasks("one").values()} == {"cancelled"}


def test_a_sweep_runs_on_pbs_and_lsf_which_refuse_in_their_own_words(fake_queue: FakeQueue, tmp_path: Path) -> None:
    with login(tmp_path, fake_queue.system, fake_queue.environment) as cli:
        runs_a_sweep(cli)
        words = "No such queue" if fake_queue.system == "lsf" else "Unknown queue"
        refuses(cli, f"{{{fake_queue.system}: {{queue: nowhere}}}}", words)


def test_a_queue_that_does_not_answer_holds_its_machine_and_costs_no_attempt(
    fake_queue: FakeQueue, tmp_path: Path
) -> None:
    with login(tmp_path, fake_queue.system, fake_queue.environment) as cli:
        with fake_queue.fault("down"):
            running = cli.start("run", cli.write("one.yaml", one("command: 'true'")))
            wait_until(lambda: NO_ANSWER.search(cli.run("machine", "list").stdout), "the hold", 60)
            (identifier,) = cli.ids()
            assert NO_ANSWER.search(cli.run("explain", identifier, "it").stdout)
            left = cli.run("orphans", "cluster", code=4).stderr
            assert NO_ANSWER.search(left)
            assert "machine cluster: " in left
            assert "nothing is left" not in left
        cli.run("machine", "release", "cluster")  # it is tried at once, and not when its pause is over
        assert running.wait(60) == 0
        assert cli.tasks(identifier)["it"]["attempt"] == 1
        told = cli.run("events", identifier).stdout
        assert told.count("machine cluster answers again") == 1
