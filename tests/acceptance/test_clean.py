from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.sshd import Farm, Inventory
from wlmctl.clean_folder import clean_folders
from wlmctl.experiment.model import Experiment, Template
from wlmctl.host import host_id
from wlmctl.plugins import transport_factory
from wlmctl.states import ExperimentState, TaskState
from wlmctl.store import experiments, machines, open_database
from wlmctl.store.record import Recorder
from wlmctl.transport import Transport

WLMCTL = [sys.executable, "-m", "wlmctl"]
OLD_S = 40 * 86400


class Site:
    """A folder with an inventory and a store, and experiments that a test says have run."""

    def __init__(self, inventory: Inventory, farm: Farm) -> None:
        self.inventory, self.farm, self.folder = inventory, farm, inventory.folder
        self.db = open_database(f"sqlite:///{self.folder}/wlmctl.db")
        self.project = self.folder / "project"
        self.project.mkdir()

    def add(self, identifier: str, *touched: str, state: str = "succeeded", host: str | None = None) -> int:
        """An experiment with a folder on these machines; ``state`` is how it stands."""
        name = identifier.rpartition("-")[0]
        now = time.time()
        submission = experiments.Submission(
            identifier, "me", host or host_id(), "elsewhere", "run", now, None, "{}", "0" * 64
        )
        experiment = Experiment(name, (Template("t", "job", {}),), folder=str(self.project))
        with self.db.transaction():
            seq = experiments.create(self.db, experiment, submission)
            recorder = Recorder(self.db, seq, now)
            if state != "running":
                recorder.experiment(ExperimentState.RUNNING, ExperimentState(state), ended=now)
            recorder.flush()
            for machine in touched:
                machines.touched(self.db, seq, machine)
        for machine in touched:
            if machine == "local" or machine in self.farm.machines:
                self.fill(self.scratch(machine) / identifier)
        return seq

    def scratch(self, machine: str) -> Path:
        return (Path(os.environ["HOME"]) if machine == "local" else self.farm[machine].home) / ".wlmctl"

    @staticmethod
    def fill(folder: Path) -> None:
        private = folder / ".wlmctl" / "t" / "1"
        private.mkdir(parents=True)
        (private / "fence").write_text("owner")
        (private / "exit").write_text("0")
        (folder / "work").mkdir()
        (folder / "work" / "data").write_bytes(b"x" * 1000)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **self.inventory.env}
        command = [*WLMCTL, *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=60, check=False
        )


@pytest.fixture
def site(farm: Farm, tmp_path: Path) -> Iterator[Site]:
    made = Site(farm.write_inventory(tmp_path), farm)
    yield made
    made.db.close()
    for machine in ("alpha", "beta"):
        shutil.rmtree(made.scratch(machine), ignore_errors=True)


def test_an_ended_experiments_folder_goes_from_every_machine_it_touched(site: Site) -> None:
    seq = site.add("pi-aaaaaa", "alpha", "beta", "local")
    site.add("pi-bbbbbb", "alpha")
    (site.project / "results").mkdir()
    (site.project / "results" / "plot").write_text("kept")
    done = site.run("clean", "pi-aaaaaa")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("removed") == 3
    for machine in ("alpha", "beta", "local"):
        assert not (site.scratch(machine) / "pi-aaaaaa").exists()
    assert (site.scratch("alpha") / "pi-bbbbbb" / "work" / "data").exists()
    assert (site.project / "results" / "plot").read_text() == "kept"
    row = experiments.get(site.db, seq)
    assert row is not None
    assert row.cleaned == 1
    again = site.run("clean", "pi-aaaaaa")
    assert again.returncode == 0
    assert again.stdout.count("nothing at") == 3


def test_a_dry_run_only_says_what_would_go(site: Site) -> None:
    site.add("pi-aaaaaa", "alpha")
    done = site.run(
        "clean",
        "pi-aaaaaa",
        "--dry-run",
        "-o",
        "json",
    )
    document = json.loads(done.stdout)
    [machine] = document["experiments"][0]["machines"]
    assert (document["version"], document["dry_run"], done.returncode) == (1, True, 0)
    assert (machine["machine"], machine["files"], machine["existed"]) == ("alpha", 3, True)
    assert (site.scratch("alpha") / "pi-aaaaaa" / "work" / "data").exists()


def test_a_running_experiment_is_refused_in_one_line_and_nothing_is_touched(site: Site) -> None:
    site.add("pi-aaaaaa", "alpha")
    site.add("pi-bbbbbb", "alpha", state="running")
    done = site.run("clean", "pi-aaaaaa", "pi-bbbbbb")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "pi-bbbbbb is running" in done.stderr
    assert (site.scratch("alpha") / "pi-aaaaaa").exists()


def test_a_filter_takes_only_what_has_ended(site: Site) -> None:
    site.add("pi-aaaaaa", "alpha", state="failed")
    site.add("pi-bbbbbb", "alpha", state="running")
    done = site.run("clean", "--name", "pi*")
    assert done.returncode == 0
    assert not (site.scratch("alpha") / "pi-aaaaaa").exists()
    assert (site.scratch("alpha") / "pi-bbbbbb").exists()


def test_forget_removes_it_from_the_store_too(site: Site) -> None:
    site.add("pi-aaaaaa", "alpha")
    done = site.run("clean", "pi-aaaaaa", "--forget")
    assert done.returncode == 0
    assert site.run("status", "pi-aaaaaa").returncode == 3


def test_a_machine_that_is_away_ends_with_4_and_the_others_are_cleaned(site: Site, tmp_path: Path) -> None:
    site.add("pi-aaaaaa", "alpha", "gone")
    with open(site.inventory.config, "a") as config:
        config.write('[machines.gone]\nhost = "127.0.0.1"\nport = 1\n')
    done = site.run("clean", "pi-aaaaaa", "--forget")
    assert done.returncode == 4
    assert "gone is not removed" in done.stderr
    assert "kept in the store" in done.stderr
    assert not (site.scratch("alpha") / "pi-aaaaaa").exists()
    assert experiments.find(site.db, "pi-aaaaaa").cleaned == 0


def test_the_local_part_of_an_experiment_of_another_host_is_left_alone(site: Site) -> None:
    site.add("pi-aaaaaa", "local", host="another host")
    done = site.run("clean", "pi-aaaaaa")
    assert done.returncode == 4
    assert "elsewhere" in done.stderr
    assert (site.scratch("local") / "pi-aaaaaa").exists()


class Ordered:
    """A transport that notes what is removed, in order."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.removed: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def remove(self, path: str) -> None:
        self.removed.append(path)
        self._inner.remove(path)


def test_fences_and_exit_files_go_last(tmp_path: Path) -> None:
    from wlmctl.machine import Machine

    folder = tmp_path / "pi-aaaaaa"
    Site.fill(folder)
    machine = Machine("local", transport="local")
    with transport_factory("local")(machine, {}) as transport:
        ordered = Ordered(transport)
        assert clean_folders(ordered, str(folder))  # type: ignore[arg-type]
        assert ordered.removed == [f"{folder}/work", str(folder)]
        assert not clean_folders(transport, str(folder))


@pytest.mark.parametrize("path", ["/", "/home", "pi-aaaaaa", "/scratch/environments", "/scratch/pi-aaaaaa/.."])
def test_what_is_no_experiments_folder_is_never_removed(path: str, tmp_path: Path) -> None:
    from wlmctl.machine import Machine

    with transport_factory("local")(Machine("local", transport="local"), {}) as transport, pytest.raises(ValueError):  # noqa: PT011
        clean_folders(transport, path)


def test_machine_clean_removes_temporary_files_of_ended_executions_only(site: Site) -> None:
    site.add("pi-aaaaaa", "alpha")
    busy = site.add("pi-bbbbbb", "alpha", state="running")
    with site.db.transaction():
        recorder = Recorder(site.db, busy, time.time())
        for source, target in (("waiting", "ready"), ("ready", "assigned"), ("assigned", "running")):
            recorder.task(0, TaskState(source), TaskState(target))
        recorder.flush()
    scratch = site.scratch("alpha")
    (scratch / "other-cccccc").mkdir(exist_ok=True)
    temps = [scratch / name / ".data.wlm-0a1b2c" for name in ("pi-aaaaaa", "pi-bbbbbb", "other-cccccc")]
    for temp in temps:
        temp.write_bytes(b"half")
    done = site.run("machine", "clean", "alpha", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[2].partition(":")[2] for line in done.stdout.splitlines()] == [str(temps[0])]
    assert site.run("machine", "clean", "alpha").returncode == 0
    assert [temp.exists() for temp in temps] == [False, True, True]
    os.utime(temps[2], (time.time() - 2 * 86400,) * 2)
    site.run("machine", "clean", "alpha")
    assert [temp.exists() for temp in temps] == [False, True, False]
    assert (scratch / "pi-aaaaaa" / "work" / "data").exists()


def test_machine_clean_removes_environments_that_nobody_has_used_for_long(site: Site) -> None:
    environments = site.scratch("beta") / "environments"
    wanted = site.add("pi-aaaaaa", state="running")
    for name, is_old in (("old", True), ("new", False), ("locked", True), ("wanted", True)):
        (environments / name).mkdir(parents=True)
        (environments / name / ".wlmctl-complete").touch()
        (environments / name / ".wlmctl-used").touch()
        if is_old:
            for file in (environments / name).iterdir():
                os.utime(file, (time.time() - OLD_S,) * 2)
    (environments / "locked.lock").mkdir()
    with site.db.transaction():
        site.db.execute("UPDATE tasks SET folder = ? WHERE exp = ?", (str(environments / "wanted"), wanted))
    document = json.loads(site.run("machine", "clean", "beta", "-o", "json").stdout)
    assert [leftover["path"] for leftover in document["leftovers"]] == [str(environments / "old")]
    assert sorted(path.name for path in environments.iterdir()) == ["locked", "locked.lock", "new", "wanted"]
    site.run("machine", "clean", "beta", "--older", "0s")
    assert sorted(path.name for path in environments.iterdir()) == ["locked", "locked.lock", "wanted"]


def test_machine_clean_removes_cached_content_that_nobody_has_used_for_long(site: Site) -> None:
    cache = site.scratch("beta") / "cache"
    cache.mkdir(parents=True)
    for name in ("old", "new"):
        (cache / name).write_bytes(b"content")
        (cache / name).chmod(0o444)
    os.utime(cache / "old", (time.time() - OLD_S,) * 2)
    done = site.run("machine", "clean", "beta")
    assert f"removed beta:{cache}/old (cache, 7 B" in done.stdout
    assert [path.name for path in cache.iterdir()] == ["new"]


def test_machine_clean_of_an_unknown_machine_and_one_that_is_away(site: Site) -> None:
    with open(site.inventory.config, "a") as config:
        config.write('[machines.gone]\nhost = "127.0.0.1"\nport = 1\n')
    assert site.run("machine", "clean", "alhpa").returncode == 3
    away = site.run("machine", "clean", "gone")
    assert away.returncode == 4
    assert len(away.stderr.splitlines()) == 1
