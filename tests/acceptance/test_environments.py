"""Environments on clusters: the recipes of the examples, with real modules and a real virtual environment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import CommandLine

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "environments"
INIT = Path("/usr/share/modules/init/sh")


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[CommandLine]:
    """A copy of the example; ``local`` has its scratch here."""
    folder = Path(shutil.copytree(EXAMPLES, tmp_path / "environments"))
    settings = folder / "wlmctl.toml"
    settings.write_text(f'{settings.read_text()}scratch = "{tmp_path}/scratch"\n')
    line = CommandLine(folder)
    yield line
    line.close()


@pytest.fixture
def modules(cli: CommandLine, tmp_path: Path) -> Path:
    """Environment Modules with one module, ``solver/1.2``, which makes a program known."""
    if not INIT.exists():
        if os.environ.get("CI"):
            pytest.fail("there is no Environment Modules here: install environment-modules")
        pytest.skip("there is no Environment Modules here")
    tree, programs = tmp_path / "modulefiles", tmp_path / "programs"
    for folder in (tree / "solver", programs):
        folder.mkdir(parents=True)
    (tree / "solver/1.2").write_text(f"#%Module1.0\nprepend-path PATH {programs}\nsetenv SOLVER 1.2\n")
    (programs / "solve").write_text("#!/bin/sh\necho solved by $SOLVER\n")
    (programs / "solve").chmod(0o755)
    cli.environ["MODULEPATH"] = str(tree)
    return tree


SOLVE = """
name: solve
tasks:
  setup: {type: environment, modules: [MODULE], commands: ["solve > built"]}
  run:
    type: job
    needs: [setup]
    command: ". ${tasks.setup.folder}/activate; solve; cat ${tasks.setup.folder}/built"
"""


def test_modules_are_loaded_for_the_commands_and_by_who_sources_activate(cli: CommandLine, modules: Path) -> None:
    cli.run("run", cli.write("solve.yaml", SOLVE.replace("MODULE", "solver/1.2")))
    (log,) = cli.json("logs", "solve", "run")["logs"]
    assert log["text"] == "solved by 1.2\nsolved by 1.2\n"
    (built,) = (cli.folder.parent / "scratch/environments").glob("*/.wlmctl-complete")
    made_ns = built.stat().st_mtime_ns
    planned = cli.run("plan", "solve.yaml").stdout
    assert f"reuses {built.parent}, where its 1 command ran" in planned
    cli.run("run", cli.write("again.yaml", SOLVE.replace("MODULE", "solver/1.2").replace("solve\n", "again\n", 1)))
    assert [built.stat().st_mtime_ns, len(list(built.parent.parent.glob("*/.wlmctl-complete")))] == [made_ns, 1]


@pytest.mark.parametrize(
    "is_old",
    [pytest.param(False, id="exit code 1"), pytest.param(True, id="exit code 0", marks=pytest.mark.long)],
)
def test_a_module_that_is_not_there_fails_the_environment_in_one_line(
    cli: CommandLine, modules: Path, tmp_path: Path, is_old: bool
) -> None:
    if is_old:  # a module command that prints an error and gives 0, as version 3 did
        rc = tmp_path / "preamble"
        rc.write_text('module() { echo "ModuleCmd_Load.c: ERROR: Unable to locate $2" >&2; }\n')
        settings = cli.folder / "wlmctl.toml"
        settings.write_text(f'{settings.read_text()}preamble = ". {rc}"\n')
    cli.run("run", cli.write("solve.yaml", SOLVE.replace("MODULE", "solver/9")), code=1)
    task = cli.tasks("solve")["setup"]
    assert task["failure_class"] == "user"
    assert task["reason"].startswith("local: the loading of the modules ended with exit code 1: ")
    assert f"module solver/9 cannot be loaded on {os.uname().nodename}" in task["reason"]
    assert cli.tasks("solve")["run"]["state"] == "skipped"


@pytest.mark.long
def test_the_recipe_of_modules_runs_with_any_module(cli: CommandLine, modules: Path) -> None:
    cli.run("run", "modules.yaml", "--param", "module=solver")
    assert cli.tasks("modules")["simulate"]["outputs"] == {"energy": -1.5}


@pytest.mark.long
def test_the_recipe_of_a_virtual_environment_runs_in_it_and_makes_it_once(cli: CommandLine) -> None:
    cli.run("run", "venv.yaml")
    (prefix,) = (cli.folder.parent / "scratch/environments").glob("*/.venv")
    assert cli.tasks("venv")["simulate"]["outputs"] == {"energy": -1.5, "prefix": str(prefix)}
    made_ns = (prefix / "pyvenv.cfg").stat().st_mtime_ns
    cli.run("run", "venv.yaml", "--name", "second")
    assert cli.tasks("second")["simulate"]["outputs"]["prefix"] == str(prefix)
    assert (prefix / "pyvenv.cfg").stat().st_mtime_ns == made_ns
