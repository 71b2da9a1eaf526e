"""One name for several machines: any of a group, and a cluster by whichever of its login nodes answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.services.slurm import Slurm
from tests.services.sshd import Farm, Sshd, open_farm, require_sshd
from tests.waiting import wait_until

LAB = """
name: lab
tasks:
  make: {type: job, machine: lab, command: 'echo made > made'}
  read: {type: job, needs: [make], machine: lab, command: 'cat made'}
  back: {type: stage, needs: [read], from: 'lab:made', to: 'local:results/'}
"""


@pytest.fixture(scope="module")
def nodes(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """Two login nodes of one Slurm, with one home."""
    require_sshd()
    with open_farm(tmp_path_factory.mktemp("nodes"), names=["login1"]) as farm:
        farm.add("login2", home=farm["login1"].home)
        slurm.greet(farm["login1"])
        yield farm


@pytest.fixture
def cli(nodes: Farm, tmp_path: Path) -> Iterator[CommandLine]:
    inventory = nodes.write_inventory(tmp_path / "site")
    first, rest = inventory.config.read_text().split("\n", 1)
    cluster = '[machines.cluster]\nhost = "login1"\nlogins = ["login2"]\nbatch = "slurm"\nmax_connections = 2\n'
    cluster += '[machines.cluster.batch_options]\nlost_after = "3s"\n'
    group = '[groups.lab]\nmachines = ["login1", "login2"]\n'
    inventory.config.write_text(f"{first}\n{cluster}{group}{rest}")
    line = CommandLine(inventory.folder, inventory.env)
    yield line
    line.close()


@pytest.fixture
def lame(nodes: Farm) -> Iterator[Sshd]:
    """A login node that may be stopped; it runs again afterwards."""
    yield nodes["login1"]
    if not nodes["login1"].processes():
        nodes["login1"].start()


def logins(machine: Sshd) -> int:
    return machine.log_text.count("Accepted")


def test_a_role_is_bound_to_any_machine_of_a_group_and_all_its_tasks_follow(cli: CommandLine) -> None:
    cli.write("lab.yaml", LAB)
    planned = cli.run("plan", "lab.yaml").stdout
    assert "make: job on lab = login1" in planned
    cli.run("run", "lab.yaml")
    tasks = cli.tasks("lab")
    assert tasks["make"]["machine"] == tasks["read"]["machine"] in ("login1", "login2")
    assert (cli.folder / "results" / "made").read_text() == "made\n"
    assert "login1,login2" not in cli.run("machine", "list").stdout
    assert cli.run("machine", "list").stdout.count("group=lab") == 2
    wrong = cli.run("validate", cli.write("wrong.yaml", LAB.replace("lab, command", "lap, command")), code=2)
    assert "did you mean 'lab'" in wrong.stderr


def test_a_group_with_a_machine_that_is_held_or_away_uses_another_one(cli: CommandLine, lame: Sshd) -> None:
    cli.run("machine", "hold", "login1", "--reason", "new disks")
    cli.write("one.yaml", "name: one\ntasks: {it: {type: job, machine: login1, command: 'true'}}\n")
    planned = cli.run("plan", "one.yaml").stdout
    assert "note: it is held by " in planned
    assert ": new disks: its tasks would wait" in planned
    cli.run("run", cli.write("lab.yaml", LAB))
    assert cli.tasks("lab")["make"]["machine"] == "login2"
    held = cli.json("machine", "release", "lab")["machines"]
    assert [(row["name"], row["released"]) for row in held] == [("login1", True), ("login2", False)]


def test_a_job_of_a_login_node_that_goes_down_is_watched_and_cancelled_through_the_other(
    cli: CommandLine, nodes: Farm, slurm: Slurm, lame: Sshd
) -> None:
    text = "name: jobs\ntasks:\n"
    text += (
        "  short: {type: job, machine: cluster, command: 'echo ran >> ~/ran; until [ -e ~/go ]; do sleep 0.1; done'}\n"
    )
    text += "  long: {type: job, machine: cluster, command: 'echo began > ~/began; sleep 600'}\n"
    running = cli.start("run", cli.write("jobs.yaml", text))
    home = nodes["login1"].home
    wait_until(lambda: (home / "ran").exists() and (home / "began").exists(), "both jobs", 60)
    wait_until(lambda: {t["state"] for t in cli.tasks(cli.ids()[0]).values()} == {"deferred"}, "both are known", 60)
    before = logins(nodes["login2"])
    lame.stop()
    (home / "go").touch()
    wait_until(lambda: cli.tasks(cli.ids()[0])["short"]["state"] == "succeeded", "its end, by the other node", 60)
    assert "held" not in cli.run("status", cli.ids()[0]).stdout
    cli.run("cancel", cli.ids()[0])
    assert running.wait(60) == 5, cli.said(running)
    tasks = cli.tasks(cli.ids()[0])
    assert (tasks["long"]["state"], tasks["long"]["machine"], tasks["short"]["attempt"]) == ("cancelled", "cluster", 1)
    assert (home / "ran").read_text() == "ran\n"
    wait_until(lambda: {row[1] for row in slurm.queue()} <= {"COMPLETED", "CANCELLED"}, "Slurm has cleaned up", 60)
    assert logins(nodes["login2"]) - before <= 2, "no login for each look"
    assert "login node login2 serves instead" in cli.said(running)


@pytest.mark.long
def test_with_all_login_nodes_down_the_cluster_is_held_and_either_of_them_ends_that(
    cli: CommandLine, nodes: Farm
) -> None:
    for name in ("login1", "login2"):
        nodes[name].stop()
    try:
        running = cli.start(
            "run", cli.write("one.yaml", "name: one\ntasks: {it: {type: job, machine: cluster, command: 'true'}}\n")
        )
        wait_until(lambda: "machine cluster is held" in cli.said(running), "the hold", 60)
        began_s = time.monotonic()
        nodes["login2"].start()
        assert running.wait(60) == 0, f"{cli.said(running)}\nafter {time.monotonic() - began_s:.0f} s"
    finally:
        nodes["login1"].start()
    assert cli.tasks("one")["it"]["attempt"] == 1


@pytest.mark.long
def test_machine_test_looks_at_each_login_node_and_names_it(cli: CommandLine, lame: Sshd) -> None:
    lame.stop()
    done = cli.run("machine", "test", "cluster", code=4)
    assert "cluster (login1)  tcp         unreachable" in done.stdout
    assert "cluster (login2)  batch       ok" in done.stdout
    shown = cli.run("machine", "show", "cluster", code=4)
    assert f":{lame.port}, " in shown.stdout.partition("login:")[2]
