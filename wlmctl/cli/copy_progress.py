"""What a copy says: its plan, how far it is (a bar on a terminal, else lines), what it did; or all as JSON lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wlmctl.cli.common import note, write, write_line
from wlmctl.cli.how_far import how_far
from wlmctl.rate import Rate
from wlmctl.text import counted, in_bytes
from wlmctl.transfer import Progress, Report, Verify

if TYPE_CHECKING:
    from wlmctl.transfer import Plan, Summary

#: Seconds between two lines of text, two lines of JSON, and two looks of the bar.
LINE_EACH_S, JSON_EACH_S, DRAW_EACH_S = 10.0, 1.0, 0.1


@contextmanager
def shown_progress(output: str) -> Iterator[Report]:
    """Something to tell progress to: text goes to stderr, JSON to stdout."""
    if output == "json":
        yield _Seldom(JSON_EACH_S, _json_line)
    elif sys.stderr.isatty():
        yield from _bar()
    else:
        yield _Seldom(LINE_EACH_S, lambda now, rate: note(_told(now, rate)))


class _Seldom:
    """Passes progress on at most each ``pause_s``, with the rate of the last seconds."""

    def __init__(self, pause_s: float, tell: Callable[[Progress, Rate], None]) -> None:
        self._pause_s, self._tell, self._rate = pause_s, tell, Rate()
        self._told_s = time.monotonic()

    def __call__(self, now: Progress) -> None:
        self._rate.note(now.sent_bytes, now.files_done - now.skipped - now.reused)
        if time.monotonic() - self._told_s >= self._pause_s:
            self._told_s = time.monotonic()
            self._tell(now, self._rate)


def _told(now: Progress, rate: Rate) -> str:
    return how_far(
        now.bytes_done, now.bytes_total, now.files_done, now.files_total, rate.bytes_s, _left_s(now, rate),
        resumed_bytes=now.resumed_bytes, skipped=now.skipped + now.reused,
    )  # fmt: skip


def _left_s(now: Progress, rate: Rate) -> float | None:
    return rate.left_s(now.bytes_total - now.bytes_done, now.files_total - now.files_done)


def _bar() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    with Bars(BarColumn(24), TextColumn("{task.description}"), console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)

        def draw(now: Progress, rate: Rate) -> None:
            bars.update(task, completed=now.bytes_done, total=now.bytes_total or 1, description=_told(now, rate))

        yield _Seldom(DRAW_EACH_S, draw)


def tell_plan(made: Plan, output: str) -> None:
    """How much is about to be copied, in JSON; text leaves that to the progress."""
    if output == "json":
        _event("plan", files=made.files, size_bytes=made.size_bytes)


def tell_dry_run(made: Plan, there: Set[str], verify: Verify, output: str) -> None:
    """Each item of a plan and the sums; what is in ``there`` would not be sent (sha256: if the content is the same)."""
    alike = [item.info.size_bytes for item in made.items if item.target in there]
    if output == "json":
        for item in made.items:
            _event("item", source=item.place.shown(item.path), destination=made.to.shown(item.target),
                   type=item.info.kind, size_bytes=item.info.size_bytes, alike=item.target in there)  # fmt: skip
        _event("plan", files=made.files, size_bytes=made.size_bytes, alike=len(alike), alike_bytes=sum(alike))
        return
    is_sure = verify != Verify.SHA256
    for item in made.items:
        what = in_bytes(item.info.size_bytes) if item.info.kind == "file" else item.info.kind
        if item.target in there:
            what += ", there already" if is_sure or item.info.kind != "file" else ", the same size is there"
        write(f"{item.place.shown(item.path)} -> {made.to.shown(item.target)} ({what})\n")
    told = f"{counted(made.files - len(alike), 'file')}, {in_bytes(made.size_bytes - sum(alike))} would be copied"
    if alike and is_sure:
        told += f", {len(alike):,} there already"
    elif alike:
        told += f", and of {len(alike):,} more, {in_bytes(sum(alike))}, what has another content than is there"
    write(f"{told}\n")


def tell_summary(summary: Summary, output: str) -> None:
    """What was done."""
    if output != "json":
        write(f"{summary.told()}\n", flush=True)
        return
    _event(
        "summary",
        files=summary.files,
        size_bytes=summary.size_bytes,
        sent_bytes=summary.sent_bytes,
        resumed_bytes=summary.resumed_bytes,
        skipped=summary.skipped,
        reused=summary.reused,
        read_back=summary.read_back,
        duration_s=round(summary.seconds, 3),
        verify=str(summary.verify),
    )


def _json_line(now: Progress, rate: Rate) -> None:
    left_s = _left_s(now, rate)
    _event(
        "progress",
        files_done=now.files_done,
        files_total=now.files_total,
        bytes_done=now.bytes_done,
        bytes_total=now.bytes_total,
        sent_bytes=now.sent_bytes,
        resumed_bytes=now.resumed_bytes,
        skipped=now.skipped,
        reused=now.reused,
        rate_bytes_s=round(rate.bytes_s),
        left_s=None if left_s is None else round(left_s, 1),
    )


def _event(kind: str, **figures: Any) -> None:
    write_line({"version": 1, "kind": kind, **figures})
