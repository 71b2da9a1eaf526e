"""Experiment texts for tests: read one, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from wlmctl import plugins
from wlmctl.errors import InvalidFile
from wlmctl.experiment import read
from wlmctl.experiment.model import Experiment

MACHINES = ("nas", "cluster", "gpu-box")


def experiment(folder: Path, text: str, machines: Collection[str] | None = MACHINES, **options: Any) -> Experiment:
    """The experiment of ``text``, as ``x.yaml`` in ``folder``, with the installed task types."""
    (folder / "x.yaml").write_text(text, encoding="utf-8")
    return read("x.yaml", machines=machines, task_type=plugins.task_type, cwd=folder, **options)


def mistakes(folder: Path, text: str, **options: Any) -> list[str]:
    """The lines that tell what is wrong with ``text``."""
    try:
        experiment(folder, text, **options)
    except InvalidFile as error:
        return [str(mistake) for mistake in error.mistakes]
    return []


def job(lines: str = "", head: str = "name: x\n") -> str:
    """An experiment whose one task ``t`` is a job, with further ``lines`` (of the task) from line 6 on."""
    body = "".join(f"    {line}\n" for line in lines.splitlines())
    return f"{head}tasks:\n  t:\n    type: job\n    command: run\n{body}"
