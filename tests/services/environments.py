"""Fresh virtual environments that hold what a distribution declares and nothing else, made in a second, offline.

The dependencies are links into the environment that runs the tests: those that ``pyproject.toml`` declares, and
theirs, so that an undeclared one is missed at once.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


class Environment:
    """A virtual environment in ``folder`` with the dependencies of wlmctl (and of its ``extras``), without wlmctl."""

    def __init__(self, folder: Path, extras: Sequence[str] = ()) -> None:
        self.folder = folder
        venv.create(folder, with_pip=False, symlinks=True)
        self.python = folder / "bin" / "python"
        (site,) = folder.glob("lib/python*/site-packages")
        for distribution in sorted(_closure(declared(extras), extras)):
            _link(importlib.metadata.distribution(distribution), site)

    def install(self, *arguments: str | Path) -> None:
        """``pip install`` without an index, dependencies or build isolation (the build back end is linked)."""
        offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
        pip = (sys.executable, "-m", "pip", "--python", str(self.python), "install", *offline)
        self._call([*pip, *map(str, arguments)], ROOT)

    def run(self, *command: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment in ``cwd``; its output is in the failure."""
        program = self.folder / "bin" / command[0]
        return self._call([str(program), *map(str, command[1:])], cwd, check)

    def _call(self, command: list[str], cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, errors="replace")
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done


def declared(extras: Iterable[str]) -> list[str]:
    """The requirements in pyproject.toml, with those of the build back end."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    optional = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"], "editables"]
    return [*wanted, *(text for extra in extras for text in optional[extra])]


def _closure(requirements: Iterable[str], extras: Sequence[str]) -> set[str]:
    found: set[str] = set()
    queue = list(requirements)
    while queue:
        requirement = Requirement(queue.pop())
        name = requirement.name.lower().replace("_", "-")
        if name in found or not _applies(requirement, extras):
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an optional tool of the build back end
        found.add(name)
        queue.extend(distribution.requires or ())
    return found


def _applies(requirement: Requirement, extras: Sequence[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _link(distribution: importlib.metadata.Distribution, site: Path) -> None:
    for source in set(_top_level(distribution)):
        target = site / source.name
        if not target.exists():
            target.symlink_to(source)


def _top_level(distribution: importlib.metadata.Distribution) -> Iterator[Path]:
    for file in distribution.files or ():
        first = file.parts[0]
        if first not in ("..", "__pycache__"):
            yield Path(str(distribution.locate_file(first)))
