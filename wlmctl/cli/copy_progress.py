"""How far a copy is: a bar on a terminal, else a line every ten seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from wlmctl.cli.common import note
from wlmctl.transfer import Progress, Report

_LINE_EACH_S = 10.0
_DRAW_EACH_S = 0.1


@contextmanager
def shown_progress(*, is_wanted: bool) -> Iterator[Report]:
    """Something to tell progress to, on stderr; it shows nothing unless ``is_wanted``."""
    if not is_wanted:
        yield lambda *_: None
    elif sys.stderr.isatty():
        yield from _bar()
    else:
        yield _Lines()


class _Lines:
    """A line every ten seconds."""

    def __init__(self) -> None:
        self._began_s = self._last_s = time.monotonic()

    def __call__(self, now: Progress) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s >= _LINE_EACH_S:
            self._last_s = now_s
            rate = now.sent_bytes / (now_s - self._began_s) / 1e6
            files = f"{now.files_done} of {now.files_total} files"
            note(f"{files}, {now.bytes_done:,} of {now.bytes_total:,} bytes, {rate:.1f} MB/s")


def _bar() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    last_s = 0.0
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)

        def progress(now: Progress) -> None:
            nonlocal last_s
            now_s = time.monotonic()
            if now_s - last_s >= _DRAW_EACH_S or now.files_done == now.files_total:
                last_s = now_s
                text = f"{now.files_done}/{now.files_total} files"
                bars.update(task, completed=now.bytes_done, total=now.bytes_total, description=text)

        yield progress
