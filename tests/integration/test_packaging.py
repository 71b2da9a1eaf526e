"""Every way of installing gives every plugin, and a distribution of somebody else's adds its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.services.environments import ROOT, Environment

BUILT_IN = {
    *("transport_fsspec", "transport_local", "transport_openssh", "transport_scp", "transport_sftp"),
    *("scheduler_fifo", "scheduler_matchmaking"),
    *("task_environment", "task_job", "task_stage", "batch_shell", "batch_slurm"),
    *("batch_pbs", "batch_sge", "batch_lsf"),
}


def plugins(environment: Environment, folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        environment.run("wlmctl", "plugin", "list", "-o", "json", cwd=folder).stdout
    )["plugins"]
    return found


def usable(rows: list[dict[str, Any]]) -> set[str]:
    assert {row["name"]: row["error"] for row in rows if row["error"]} == {}
    return {f"{row['kind']}_{row['name']}" for row in rows}


def test_pip_install_gives_every_plugin_and_only_what_is_declared_is_needed(tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv")
    environment.install(ROOT)
    assert usable(plugins(environment, tmp_path)) == BUILT_IN
    assert environment.run("wlmctl", "--version", cwd=tmp_path).stdout.startswith("wlmctl ")
    names = {path.name for path in (tmp_path / "venv").glob("lib/python*/site-packages/*")}
    assert not names & {"tests", "plugins", "examples", "benchmarks", "pytest"}
    assert (next((tmp_path / "venv").glob("lib/python*/site-packages/wlmctl")) / "py.typed").exists()


def test_an_editable_install_gives_every_plugin_from_the_checkout_itself(tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv")
    environment.install("-e", ROOT)
    assert usable(plugins(environment, tmp_path)) == BUILT_IN
    shown = environment.run("wlmctl", "plugin", "show", "transport_local", "-o", "json", cwd=tmp_path).stdout
    assert json.loads(shown)["plugins"][0]["file"].startswith(f"{ROOT}/plugins/transport_local/")


def test_sdist_to_wheel_to_a_fresh_environment_gives_every_plugin(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, cwd=tmp_path)  # the wheel is made from the sdist
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    environment = Environment(tmp_path / "venv")
    environment.install(wheel)
    assert usable(plugins(environment, tmp_path)) == BUILT_IN


def test_each_folder_in_plugins_is_in_pyproject_as_package_and_as_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    folders = {folder.name for folder in (ROOT / "plugins").iterdir() if folder.is_dir()}
    assert {name: f"wlmctl_{name}" for name in folders} == project["project"]["entry-points"]["wlmctl"]
    assert {f"plugins/{name}/wlmctl_{name}" for name in folders} | {"wlmctl"} == set(packages)
    assert {f"wlmctl_{name}" for name in folders} | {"wlmctl"} == set(project["tool"]["importlinter"]["root_packages"])
    for name in folders:
        assert (ROOT / "plugins" / name / f"wlmctl_{name}" / "py.typed").exists()


@pytest.fixture(scope="module")
def with_example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, Path]:
    """An environment with wlmctl, its testing extra and the example distribution, and a copy of the example."""
    folder = tmp_path_factory.mktemp("example")
    example = folder / "plugin"
    shutil.copytree(ROOT / "examples" / "plugin", example)
    environment = Environment(folder / "venv", extras=["testing"])
    environment.install(ROOT)
    environment.install(example)
    return environment, example


def test_the_example_distribution_adds_one_plugin_of_each_of_its_kinds(
    with_example: tuple[Environment, Path],
) -> None:
    environment, example = with_example
    added = [row for row in plugins(environment, example) if row["distribution"] == "wlmctl-example"]
    assert usable(added) == {"transport_folder", "scheduler_newest", "task_count", "command_hello"}
    assert environment.run("wlmctl", "hello", "you", cwd=example).stdout == "hello, you\n"
    assert "hello" in environment.run("wlmctl", "--help", cwd=example).stdout


def test_the_example_passes_the_shipped_suites_in_its_own_environment(
    with_example: tuple[Environment, Path],
) -> None:
    environment, example = with_example
    done = environment.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=example)
    assert " passed" in done.stdout
    assert "failed" not in done.stdout


def test_the_example_is_used_in_an_experiment(with_example: tuple[Environment, Path], tmp_path: Path) -> None:
    environment, example = with_example
    share = tmp_path / "share"
    share.mkdir()
    for name in ("wlmctl.toml", "experiment.yaml", "poem.txt"):
        shutil.copy(example / name, tmp_path)
    settings = (tmp_path / "wlmctl.toml").read_text()
    assert 'root = "/tmp"' in settings
    (tmp_path / "wlmctl.toml").write_text(settings.replace('root = "/tmp"', f'root = "{share}"'))
    environment.run("wlmctl", "run", "experiment.yaml", cwd=tmp_path)
    assert (tmp_path / "answer.txt").read_text() == "the poem has 4 lines\n"
    (copied,) = share.glob("scratch/*/poem.txt")
    assert copied.read_bytes() == (tmp_path / "poem.txt").read_bytes()
