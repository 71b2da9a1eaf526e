"""Following the work of this process to its end: progress while it runs, a summary, and the exit code."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import click

from wlmctl.cli.common import note
from wlmctl.cli.progress_lines import Lines, summary_text
from wlmctl.cli.progress_picture import Change, Followed, Picture
from wlmctl.cli.stopping import Stopping
from wlmctl.errors import ExitCode, Unusable
from wlmctl.store import experiments, logs
from wlmctl.store.database import Database
from wlmctl.store.leases import LeaseLost
from wlmctl.store.opening import Password, open_patiently
from wlmctl.store.patience import Patience
from wlmctl.text import shown

if TYPE_CHECKING:
    from wlmctl.runtime.foreground import Transfer

log = logging.getLogger(__name__)

#: Seconds between two looks at the store.
LOOK_S = 0.05

#: Seconds between two looks at what is new: reading events takes time from the work itself.
SHOW_S = 0.2
#: Of an experiment that failed: so many failed tasks, with so many last lines of stderr each.
FAILED_SHOWN, STDERR_LINES = 5, 10


class Work(Protocol):
    """What is followed: ``wlmctl.runtime.foreground.Foreground``."""

    def start(self) -> None:
        """Begin, in threads of its own."""
        ...

    def finished(self) -> bool:
        """True when all experiments have ended."""
        ...

    def error(self) -> BaseException | None:
        """What ended it before that."""
        ...

    def transfers(self) -> Sequence[Transfer]:
        """The transfers under way."""
        ...

    def holds(self) -> Mapping[str, str]:
        """The machines that do not answer, with the reason."""
        ...

    def stop(self) -> None:
        """Ask for the end; jobs go on."""
        ...

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; False when it has not come in time."""
        ...


class Display(Protocol):
    """One way to show progress."""

    def begin(self) -> None:
        """Before the work starts."""
        ...

    def show(self, changes: Sequence[Change], transfers: Sequence[Transfer], holds: Mapping[str, str], /) -> None:
        """What is new, and how it stands."""
        ...

    def end(self) -> None:
        """After the last ``show``."""
        ...


def follow(
    work: Work, store: str, seqs: Collection[int], output: str, stopping: Stopping, *, password: Password = None
) -> int:
    """Start ``work`` on these experiments, show its progress until it ends or ``stopping`` is asked; the exit code.

    Whatever happens, the work is stopped and its leases are given back before this returns or raises.
    """
    with open_patiently(store, password, Patience(lambda: not stopping.is_asked), create=False) as db:
        picture = Picture(db, list(seqs))
        db.patience = Patience(
            lambda: not (work.error() or stopping.is_asked),
            # until it has ended the work itself tells what it waits for
            lambda text: log.log(logging.WARNING if work.finished() else logging.DEBUG, "%s", text),
        )
        display = _display(picture, output, stopping)
        work.start()
        try:
            try:
                display.begin()
                shown_s = 0.0
                while not (work.finished() or work.error() or stopping.is_asked):
                    if time.monotonic() - shown_s >= SHOW_S:
                        display.show(picture.read(), work.transfers(), work.holds())
                        shown_s = time.monotonic()
                    time.sleep(LOOK_S)
            finally:
                work.stop()
                while not work.join(LOOK_S):
                    pass
            display.show(picture.read(always=True), (), work.holds())
        except BaseException:
            _end_quietly(display)
            _say_how_to_go_on(picture)
            raise
        display.end()
        return _ending(work, picture, db, output, stopping)


def _display(picture: Picture, output: str, stopping: Stopping) -> Display:
    if output == "json":
        from wlmctl.cli.progress_json import JsonLines

        return JsonLines(picture)
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from wlmctl.cli.progress_live import LiveDisplay

        stopping.hides_cursor = True
        return LiveDisplay(picture)
    return Lines(picture)


def _end_quietly(display: Display) -> None:
    # The error that is under way counts; a terminal must be left usable all the same.
    with suppress(Exception):
        display.end()


def _ending(work: Work, picture: Picture, db: Database, output: str, stopping: Stopping) -> int:
    error = work.error()
    if isinstance(error, LeaseLost):
        raise Unusable("another process has taken over this experiment: this one has stopped") from error
    if error is not None:
        _say_how_to_go_on(picture)
        raise error
    if output != "json":
        for followed in picture.experiments.values():
            if followed.is_final:
                _summary(followed, db)
    if all(followed.is_final for followed in picture.experiments.values()):
        return exit_code(picture.states)
    _say_how_to_go_on(picture)
    return stopping.exit_code


def exit_code(states: Collection[str]) -> int:
    """The exit code for experiments that ended in these states: failed before cancelled before succeeded."""
    if "failed" in states:
        return ExitCode.FAILED
    return ExitCode.CANCELLED if "cancelled" in states else ExitCode.DONE


def _say_how_to_go_on(picture: Picture) -> None:
    for followed in picture.experiments.values():
        if not followed.is_final:
            with suppress(OSError):
                name = followed.row.id
                jobs = "its jobs go on, " if followed.counts["deferred"] else ""
                note(f"{name} has not ended: {jobs}wlmctl resume {name} goes on with it")


def _summary(followed: Followed, db: Database) -> None:
    followed.row = experiments.get(db, followed.row.seq) or followed.row
    click.echo(summary_text(followed), err=True)
    if not followed.counts["failed"]:
        return
    failed = experiments.tasks(db, followed.row.seq, states=("failed",))
    for number, task in enumerate(failed):
        if number == FAILED_SHOWN:
            left = followed.counts["failed"] - FAILED_SHOWN
            click.echo(f"  and {left} more (see: wlmctl status {followed.row.id})", err=True)
            break
        click.echo(f"  {task.name}: {shown((task.reason or 'failed').partition(chr(10))[0])}", err=True)
        tails = logs.get(db, task.exp, task.idx, task.attempt)
        for line in _last_lines(tails[1] if tails else b""):
            click.echo(f"    {shown(line)}", err=True)


def _last_lines(content: bytes) -> list[str]:
    return [line for line in content.decode("utf-8", "surrogateescape").splitlines() if line.strip()][-STDERR_LINES:]
