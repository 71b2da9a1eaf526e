"""Experiment files for measurements."""

from __future__ import annotations

from pathlib import Path


def write_trivial(path: Path, count: int, task_type: str) -> None:
    """``count`` instances of one task that does nothing: a ``job`` that is ``true``, or a ``noop``."""
    what = "    command: 'true'\n" if task_type == "job" else ""
    path.write_text(
        f"name: {path.stem}\ntasks:\n  each:\n    type: {task_type}\n    foreach: {{n: 1..{count}}}\n{what}"
    )


def write_chain(path: Path, count: int) -> None:
    """``count`` tasks of type ``noop``, each of which needs the one before."""
    lines = [f"  t{number}: {{type: noop, needs: [{f't{number - 1}' if number else ''}]}}" for number in range(count)]
    path.write_text("\n".join([f"name: {path.stem}", "tasks:", *lines, ""]))
