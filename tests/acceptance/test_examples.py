"""The examples, run as a user runs them: by the installed command, in a copy of their folder, on real SSH servers."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.services.sshd import Farm

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
YEARS = ("2012", "2013", "2014", "2015")


def copy_of(example: str, folder: Path) -> Path:
    """The example as a checkout has it, without what an earlier run left there."""
    left = shutil.ignore_patterns("work", "results", "archive", "bin", "__pycache__")
    return Path(shutil.copytree(EXAMPLES / example, folder / example, ignore=left))


def call(
    folder: Path, *command: str, env: Mapping[str, str] | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, **(env or {})},
        capture_output=True,
        text=True,
        timeout=220,
    )
    assert done.returncode == code, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def expected_rain_mm() -> dict[str, float]:
    with (EXAMPLES / "pipeline/data/seattle-weather.csv").open(newline="") as file:
        days = list(csv.DictReader(file))
    return {year: math.fsum(float(day["precipitation"]) for day in days if day["date"][:4] == year) for year in YEARS}


def assert_weather_is_reported(folder: Path) -> None:
    results = folder / "results"
    rain = {year: json.loads((results / f"monthly-{year}.json").read_text())["rain_mm"] for year in YEARS}
    assert rain == {year: pytest.approx(amount) for year, amount in expected_rain_mm().items()}
    table = (results / "table.txt").read_text().splitlines()
    assert table[-1].split() == ["rain", "1226", "828", "1233", "1139", "1106.5"]
    picture = ElementTree.fromstring((results / "climate.svg").read_text())
    assert len(picture.findall("{http://www.w3.org/2000/svg}polyline")) == len(YEARS)


def tasks_of(folder: Path, experiment: str, env: Mapping[str, str] | None = None) -> dict[str, dict[str, object]]:
    document = json.loads(call(folder, "wlmctl", "status", experiment, "-o", "json", env=env).stdout)
    return {task["id"]: task for task in document["experiments"][0]["tasks"]}


def test_the_sweep_approaches_pi_squared_over_six(tmp_path: Path) -> None:
    folder = copy_of("sweep", tmp_path)
    experiment = call(folder, "wlmctl", "run", "experiment.yaml").stdout.strip()
    for terms in (10, 100, 1000, 10_000, 100_000, 1_000_000):
        found = json.loads((folder / "results" / f"sum-{terms}.json").read_text())
        assert 1 / (terms + 1) < math.pi**2 / 6 - found["sum"] < 1 / terms
    tasks = tasks_of(folder, experiment)
    assert {task["state"] for task in tasks.values()} == {"succeeded"}
    assert tasks["sum[10]"]["outputs"] == {"missing": math.pi**2 / 6 - math.fsum(1 / n**2 for n in range(1, 11))}


def test_a_sum_that_is_wrong_fails_its_check_and_the_experiment(tmp_path: Path) -> None:
    folder = copy_of("sweep", tmp_path)
    program = folder / "basel.py"
    program.write_text(program.read_text().replace("range(1, terms + 1)", "range(1, terms)"))
    experiment = call(folder, "wlmctl", "run", "experiment.yaml", code=1).stdout.strip()
    tasks = tasks_of(folder, experiment)
    assert tasks["check[10]"]["state"] == "failed"
    assert tasks["table"]["state"] == "skipped"
    assert "expected between" in call(folder, "wlmctl", "logs", experiment, "check:10", "--stderr").stdout


def test_the_pipeline_runs_on_this_host_alone(tmp_path: Path) -> None:
    folder = copy_of("pipeline", tmp_path)
    call(folder, "wlmctl", "run", "experiment.yaml")
    assert_weather_is_reported(folder)


@pytest.mark.parametrize(("archive", "compute"), [("sftp", "sftp"), ("scp", "sftp"), ("sftp", "scp")])
def test_the_same_pipeline_runs_on_two_ssh_machines(farm: Farm, tmp_path: Path, archive: str, compute: str) -> None:
    folder = copy_of("pipeline", tmp_path)
    inventory = farm.write_inventory(
        tmp_path / "inventory",
        transports={"alpha": archive, "beta": compute},
        extra={"alpha": 'labels = ["archive"]\n', "beta": 'labels = ["compute"]\n'},
    )
    env = {**inventory.env, "WLMCTL_CONFIG": str(inventory.config)}
    planned = call(folder, "wlmctl", "plan", "experiment.yaml", env=env).stdout
    assert "compute = beta" in planned
    experiment = call(folder, "wlmctl", "run", "experiment.yaml", env=env).stdout.strip()
    assert_weather_is_reported(folder)
    tasks = tasks_of(folder, experiment, env)
    assert {tasks[f"monthly[{year}]"]["machine"] for year in YEARS} == {"beta"}
    beta, alpha = (farm[name].home / ".wlmctl" / experiment for name in ("beta", "alpha"))
    assert (alpha / "archive/seattle-weather.csv").read_bytes() == (beta / "work/seattle-weather.csv").read_bytes()
    assert not (alpha / "work").exists()
    call(folder, "wlmctl", "clean", experiment, env=env)
    assert not alpha.exists()
    assert not beta.exists()


def test_a_second_run_of_the_pipeline_uses_the_environment_of_the_first(farm: Farm, tmp_path: Path) -> None:
    folder = copy_of("pipeline", tmp_path)
    extra = {"alpha": 'labels = ["archive"]\n', "beta": 'labels = ["compute"]\n'}
    inventory = farm.write_inventory(tmp_path / "inventory", extra=extra)
    env = {**inventory.env, "WLMCTL_CONFIG": str(inventory.config)}
    call(folder, "wlmctl", "run", "experiment.yaml", env=env)
    before = sorted((farm["beta"].home / ".wlmctl/environments").glob("*/venv/pyvenv.cfg"))
    made_ns = [path.stat().st_mtime_ns for path in before]
    call(folder, "wlmctl", "run", "experiment.yaml", env=env)
    after = sorted((farm["beta"].home / ".wlmctl/environments").glob("*/venv/pyvenv.cfg"))
    assert (after, [path.stat().st_mtime_ns for path in after]) == (before, made_ns)


def test_the_script_drives_submit_wait_and_status(tmp_path: Path) -> None:
    folder = copy_of("scripting", tmp_path)
    done = call(folder, "./drive.sh")
    assert "sum of squares: 55" in done.stdout
    assert "broken failed 3 user" in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        path.name for path in (EXAMPLES / "scripting").iterdir()
    )


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*/*.yaml")), ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_experiment_file_of_the_examples_is_valid(file: Path) -> None:
    if file.parent.name == "plugin":
        pytest.skip("it needs its plugin installed: test_packaging.py does that")
    call(file.parent, "wlmctl", "validate", file.name)
