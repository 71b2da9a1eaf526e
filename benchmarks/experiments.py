"""Experiment files for measurements."""

from __future__ import annotations

from pathlib import Path


def write_trivial(path: Path, count: int, task_type: str) -> None:
    """``count`` instances of one task that does nothing: a ``job`` that is ``true``, or a ``noop``."""
    what = "    command: 'true'\n" if task_type == "job" else ""
    path.write_text(
        f"name: {path.stem}\n"
        "tasks:\n"
        "  each:\n"
        f"    type: {task_type}\n"
        f"    foreach: {{n: 1..{count}}}\n{what}"
    )
