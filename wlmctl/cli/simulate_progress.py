"""How far a simulation is: a bar on a terminal, else a line every five seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from wlmctl.cli.common import note
from wlmctl.simulation.engine import Progress
from wlmctl.text import counted

_LINE_EACH_S = 5.0
_DRAW_EACH_S = 0.1


@contextmanager
def shown_progress(name: str) -> Iterator[Progress]:
    """Something to tell progress of the strategy ``name`` to, on stderr."""
    if sys.stderr.isatty():
        yield from _bar(name)
    else:
        yield _Lines(name)


class _Lines:
    """A line every few seconds, and one at the end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._last_s = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s >= _LINE_EACH_S or done == total:
            self._last_s = now_s
            note(f"{self._name}: {done} of {counted(total, 'job')} {'has' if total == 1 else 'have'} ended")


def _bar(name: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    last_s = 0.0
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(name, total=None)

        def progress(done: int, total: int) -> None:
            nonlocal last_s
            now_s = time.monotonic()
            if now_s - last_s >= _DRAW_EACH_S or done == total:
                last_s = now_s
                bars.update(task, completed=done, total=total)

        yield progress
