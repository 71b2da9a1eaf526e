"""What was left on machines is listed, and removed only when that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.services.slurm import Slurm
from tests.services.sshd import Farm, open_farm, require_sshd
from tests.waiting import wait_until

LONG = "name: long\ntasks:\n  it: {{type: job, machine: {machine}, command: 'echo ran > began; sleep 600'}}\n"


@pytest.fixture
def own_farm(tmp_path: Path) -> Iterator[Farm]:
    """A machine that nobody else leaves anything on."""
    require_sshd()
    with open_farm(tmp_path / "machines", names=["alpha"]) as farm:
        yield farm


def left_behind(cli: CommandLine, farm: Farm, machine: str) -> None:
    """A job whose run was killed, and whose store is gone."""
    running = cli.start("run", cli.write("long.yaml", LONG.format(machine=machine)))
    wait_until(lambda: list(farm[machine].home.rglob("began")), "the job's command", 60)
    running.kill()
    running.wait()
    for path in cli.store.parent.iterdir():
        path.unlink()


def test_a_job_and_a_folder_that_no_store_knows_are_listed_ended_and_removed(own_farm: Farm, tmp_path: Path) -> None:
    inventory = own_farm.write_inventory(tmp_path / "site")
    cli = CommandLine(inventory.folder, inventory.env)
    try:
        left_behind(cli, own_farm, "alpha")
        listed = cli.json("orphans", "alpha")["orphans"]
        assert [(row["kind"], row["done"]) for row in listed] == [("job", None), ("folder", None)]
        assert listed[0]["experiment"].startswith("long-")
        (tested,) = cli.json("machine", "test", "alpha")["machines"]
        (told,) = [check for check in tested["checks"] if check["part"] == "orphans"]
        assert (told["state"], told["hint"]) == ("note", "wlmctl orphans alpha")
        assert told["text"].startswith("1 job and 1 folder that no experiment of the store speaks for: long-")
        untouched = cli.run("orphans", "alpha", "--cancel", "--clean")
        assert untouched.stderr == "wlmctl: 2 newer than 1d left alone: --older says what is old enough\n"
        assert [row["done"] for row in cli.json("orphans", "alpha")["orphans"]] == [None, None]
        kept = cli.json("orphans", "alpha", "--clean", "--older", "0")["orphans"]
        assert [row["done"] for row in kept] == [None, "left: its jobs live"]
        ended = cli.json("orphans", "alpha", "--cancel", "--older", "0")["orphans"]
        assert [row["done"] for row in ended] == ["cancelled", None]
        removed = cli.json("orphans", "alpha", "--clean", "--older", "0")["orphans"]
        assert [(row["kind"], row["done"]) for row in removed] == [("folder", "removed")]
        assert cli.run("orphans", "alpha").stderr == "wlmctl: nothing is left that the store does not know\n"
    finally:
        cli.close()


def test_a_job_of_slurm_that_no_store_knows_is_found_in_the_queue(slurm: Slurm, cluster: Farm, tmp_path: Path) -> None:
    inventory = cluster.write_inventory(tmp_path / "site", extra={"cluster": 'batch = "slurm"\n'})
    cli = CommandLine(inventory.folder, inventory.env)
    try:
        left_behind(cli, cluster, "cluster")
        job, _ = cli.json("orphans", "cluster")["orphans"]
        assert job["job"] in [number for number, state, _ in slurm.queue() if state == "RUNNING"]
        cli.run("orphans", "cluster", "--cancel", "--older", "0")
        wait_until(lambda: [row[1] for row in slurm.queue() if row[0] == job["job"]] == ["CANCELLED"], "its end", 60)
    finally:
        cli.close()


def all_deferred(cli: CommandLine) -> bool:
    return bool(cli.ids()) and {task["state"] for task in cli.tasks("many").values()} == {"deferred"}


@pytest.mark.long
@pytest.mark.parametrize("more", ["", ", pack: 3"])
def test_each_element_of_an_array_and_each_member_of_a_pack_is_found_and_ended(
    slurm: Slurm, cluster: Farm, tmp_path: Path, more: str
) -> None:
    inventory = cluster.write_inventory(tmp_path / "site", extra={"cluster": 'batch = "slurm"\n'})
    cli = CommandLine(inventory.folder, inventory.env)
    command = f"command: 'sleep 600', foreach: {{n: 1..5}}{more}"
    text = f"name: many\ntasks: {{it: {{type: job, machine: cluster, {command}}}}}\n"
    try:
        running = cli.start("run", cli.write("many.yaml", text))
        wait_until(lambda: all_deferred(cli), "all jobs are known", 60)
        running.kill()
        running.wait()
        for path in cli.store.parent.iterdir():
            path.unlink()
        found = [row for row in cli.json("orphans", "cluster")["orphans"] if row["experiment"].startswith("many-")]
        jobs = [row for row in found if row["kind"] == "job"]
        assert len({row["path"] for row in jobs}) == 5, jobs
        (note,) = [c for c in cli.json("machine", "test", "cluster")["machines"][0]["checks"] if c["part"] == "batch"]
        assert note["text"].startswith("slurm, nodes of up to 8 cpus")
        for _ in range(3):  # what runs ends within its kill_grace
            cli.run("orphans", "cluster", "--cancel", "--older", "0")
        wait_until(lambda: {row[1] for row in slurm.queue()} <= {"CANCELLED", "COMPLETED", "FAILED"}, "their end", 60)
        cli.run("orphans", "cluster", "--clean", "--older", "0")
        assert list(cluster["cluster"].home.glob(".wlmctl/many-*")) == []
    finally:
        cli.close()


def test_a_machine_that_is_held_is_looked_at_only_by_its_name(own_farm: Farm, tmp_path: Path) -> None:
    inventory = own_farm.write_inventory(tmp_path / "site")
    cli = CommandLine(inventory.folder, inventory.env)
    cli.run("machine", "hold", "alpha", "--reason", "new disks")
    before = own_farm["alpha"].log_text.count("Accepted")
    said = cli.run("orphans").stderr
    assert "machine alpha is held by " in said
    assert "new disks: it is not looked at" in said
    assert own_farm["alpha"].log_text.count("Accepted") == before
    cli.run("orphans", "alpha")
    assert own_farm["alpha"].log_text.count("Accepted") == before + 1


def test_the_jobs_of_an_experiment_that_goes_on_are_no_orphans(own_farm: Farm, tmp_path: Path) -> None:
    inventory = own_farm.write_inventory(tmp_path / "site")
    cli = CommandLine(inventory.folder, inventory.env)
    try:
        cli.start("run", cli.write("long.yaml", LONG.format(machine="alpha")))
        wait_until(lambda: list(own_farm["alpha"].home.rglob("began")), "the job's command", 60)
        assert cli.json("orphans", "alpha")["orphans"] == []
        cli.run("cancel", "--wait", cli.ids()[0])
    finally:
        cli.close()


def test_a_machine_that_is_away_is_told_and_the_others_are_listed(own_farm: Farm, tmp_path: Path) -> None:
    inventory = own_farm.write_inventory(tmp_path / "site")
    cli = CommandLine(inventory.folder, inventory.env)
    own_farm["alpha"].stop()
    done = cli.run("orphans", "alpha", "local", code=4)
    assert "alpha" in done.stderr
