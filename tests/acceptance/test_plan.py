from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services.sshd import Farm, Inventory

WLMCTL = [sys.executable, "-m", "wlmctl"]

EXPERIMENT = """
name: pi
machines:
  compute: alpha
tasks:
  setup:
    type: environment
    machine: compute
    directories: [work]
    files: {tool.sh: {content: "echo hello"}}
    commands: ["sh tool.sh > made"]
  fetch:
    type: stage
    needs: [setup]
    from: beta:/DATA/points-*.csv
    to: compute:work/
  simulate:
    type: job
    needs: [fetch]
    machine: compute
    directory: work
    foreach: {seed: 1..3}
    command: "cat points-*.csv > out-${seed}"
  collect:
    type: stage
    needs: [simulate]
    from: compute:work/out-*
    to: local:results/
"""


class Site:
    """A folder with an inventory of two machines, one with data."""

    def __init__(self, farm: Farm, inventory: Inventory) -> None:
        self.farm, self.inventory, self.folder = farm, inventory, inventory.folder
        self.data = farm["beta"].home / "data"
        self.data.mkdir()
        for name in ("points-1.csv", "points-2.csv"):
            (self.data / name).write_bytes(b"1,2\n" * 100)

    def write(self, text: str) -> None:
        (self.folder / "experiment.yaml").write_text(text.replace("/DATA", str(self.data)))

    def run(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **self.inventory.env}
        line = [*WLMCTL, command, "experiment.yaml", *options]
        return subprocess.run(line, cwd=self.folder, env=env, capture_output=True, text=True, timeout=100, check=False)

    def plan(self) -> tuple[int, dict[str, Any]]:
        done = self.run("plan", "-o", "json")
        assert done.stderr == ""
        document: dict[str, Any] = json.loads(done.stdout)
        assert document["version"] == 1
        return done.returncode, document

    def everything(self) -> list[str]:
        """All files of all machines, and of this folder."""
        roots = [self.folder, Path(os.environ["HOME"]), *(machine.home for machine in self.farm.machines.values())]
        return sorted(str(path) for root in roots for path in root.rglob("*"))


@pytest.fixture
def site(farm: Farm, tmp_path: Path) -> Iterator[Site]:
    made = Site(farm, farm.write_inventory(tmp_path))
    yield made
    shutil.rmtree(made.data)
    for machine in farm.machines.values():
        shutil.rmtree(machine.home / ".wlmctl", ignore_errors=True)


def of(document: dict[str, Any], task: str, what: str) -> list[dict[str, Any]]:
    [found] = [each for each in document["tasks"] if each["name"] == task]
    return [finding for finding in found["findings"] if finding["what"] == what]


def test_a_sound_experiment_is_told_in_order_and_nothing_is_written(site: Site) -> None:
    site.write(EXPERIMENT)
    before = site.everything()
    code, document = site.plan()
    assert (code, document["problems"], document["unreachable"]) == (0, [], [])
    assert [task["name"] for task in document["tasks"]] == ["setup", "fetch", "simulate", "collect"]
    assert {machine["name"] for machine in document["machines"]} == {"alpha", "beta", "local"}
    assert document["tasks"][2]["instances"] == 3
    [source] = of(document, "fetch", "source")
    assert (source["files"], source["size_bytes"], source["level"]) == (2, 800, "ok")
    [later] = of(document, "collect", "source")
    assert later["level"] == "note", "what the jobs will write cannot be there yet"
    [environment] = of(document, "setup", "environment")
    assert environment["reused"] is False
    assert site.everything() == before


def test_an_environment_that_is_there_will_be_reused(site: Site) -> None:
    site.write(EXPERIMENT)
    ran = site.run("run")
    assert ran.returncode == 0, ran.stderr
    [environment] = of(site.plan()[1], "setup", "environment")
    assert environment["reused"] is True
    assert Path(environment["folder"], "made").read_text() == "hello\n"


def test_all_problems_come_at_once_and_end_with_1(site: Site) -> None:
    text = EXPERIMENT.replace("points-*.csv\n    to", "nothing-*.csv\n    to")
    text = text.replace("    directory: work\n", "    directory: work\n    resources: {cpus: 100000}\n")
    site.write(text)
    code, document = site.plan()
    assert code == 1
    assert len(document["problems"]) == 2
    assert "task fetch: beta:" in document["problems"][0]
    assert "nothing matches" in document["problems"][0]
    assert "task simulate: asks for 100000 cpus, machine alpha has" in document["problems"][1]
    shown = site.run("plan")
    assert shown.returncode == 1
    assert all(problem in shown.stdout for problem in document["problems"])


def test_a_machine_that_does_not_answer_ends_with_4_and_the_rest_is_told(site: Site) -> None:
    with open(site.inventory.config, "a") as config:
        config.write('[machines.gone]\nhost = "127.0.0.1"\nport = 1\n')
    site.write(EXPERIMENT.replace("compute: alpha", "compute: gone").replace("beta:/DATA/points", "beta:/DATA/none"))
    code, document = site.plan()
    assert code == 4
    assert "machine gone" in document["unreachable"][0]
    reachable = {machine["name"]: machine["reachable"] for machine in document["machines"]}
    assert reachable == {"gone": False, "beta": True, "local": True}


def test_an_unknown_host_key_ends_plan_and_run_with_4_and_nothing_is_stored(site: Site) -> None:
    site.inventory.known_hosts.write_text("")
    site.write(EXPERIMENT)
    done = site.run("plan")
    assert done.returncode == 4
    assert "wlmctl machine trust alpha" in done.stdout
    ran = site.run("run")
    assert (ran.returncode, ran.stdout) == (4, "")
    assert "wlmctl machine trust alpha" in ran.stderr
    assert "wlmctl machine trust beta" in ran.stderr, "all of them at once"
    assert not (site.folder / "wlmctl.db").exists()


def test_a_role_is_shown_with_the_first_machine_that_fits_or_why_none_does(site: Site) -> None:
    with open(site.inventory.config) as config:
        text = config.read().replace('host = "beta"', 'host = "beta"\nlabels = ["gpu"]')
    site.inventory.config.write_text(text)
    site.write(EXPERIMENT.replace("compute: alpha", "compute: {requires: {labels: [gpu]}}"))
    code, document = site.plan()
    assert (code, document["tasks"][2]["machines"]) == (0, {"compute": "beta"})
    site.write(EXPERIMENT.replace("compute: alpha", "compute: {requires: {labels: [tpu]}}"))
    code, document = site.plan()
    assert code == 1
    assert document["problems"] == [
        "role compute: no machine fits: local has no label tpu; alpha has no label tpu; beta has no label tpu"
    ]


def test_a_scratch_folder_that_cannot_be_one_is_a_problem(site: Site) -> None:
    (site.farm["alpha"].home / "file").write_text("in the way")
    text = site.inventory.config.read_text().replace('host = "alpha"', 'host = "alpha"\nscratch = "~/file/scratch"')
    site.inventory.config.write_text(text)
    site.write(EXPERIMENT)
    code, document = site.plan()
    assert code == 1
    assert "machine alpha: scratch" in document["problems"][0]
    assert "is no folder" in document["problems"][0]


def test_a_job_on_a_machine_without_a_shell_is_a_problem(site: Site) -> None:
    only_files = site.farm.add("files-only", sftp_only=True)
    try:
        inventory = site.farm.write_inventory(site.folder)
        site.inventory = inventory
        site.write(EXPERIMENT.replace("compute: alpha", "compute: files-only"))
        code, document = site.plan()
        assert code == 1
        assert "task setup: has commands, which need a shell, and machine files-only has none" in document["problems"]
        assert "task simulate: needs a shell, and machine files-only has none" in document["problems"]
    finally:
        only_files.close()
        del site.farm.machines["files-only"]


def test_a_mistake_in_the_file_ends_with_2_before_any_machine_is_asked(site: Site) -> None:
    site.write(EXPERIMENT.replace("type: job", "type: jbo"))
    before = site.farm["alpha"].log_text
    done = site.run("plan")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'job'" in done.stderr
    assert site.farm["alpha"].log_text == before
