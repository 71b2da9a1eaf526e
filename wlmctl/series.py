"""Steering a series: cancel, pause, resume. Pure store transactions; the orchestrator that leads sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from wlmctl.errors import NoSuch, UsageError
from wlmctl.store import series
from wlmctl.store.database import Database
from wlmctl.store.series import SeriesRow


@dataclass(frozen=True, slots=True)
class SeriesChange:
    """What a command did to one series: ``row`` is how it stands now; ``text`` says it for people."""

    row: SeriesRow
    changed: bool
    text: str


def cancel(db: Database, identifier: str, *, now_s: float, by: str) -> SeriesChange:
    """No further experiment is made, and none of what waits. Its experiments are cancelled by the caller."""
    with _changing(db, identifier) as row:
        if row.is_final:
            return SeriesChange(row, False, f"{row.id} is {row.state} already")
        series.drop_waiting(db, row.id)
        series.change(db, row, state=series.CANCELLED, next_due=None, ended=now_s, note=f"cancelled by {by}")
    return SeriesChange(row, True, f"{row.id} is cancelled: no further experiment of it is made")


def pause(db: Database, identifier: str, *, by: str) -> SeriesChange:
    """No further experiment is made until it is resumed; those that have begun go on."""
    with _changing(db, identifier) as row:
        if row.state != series.ACTIVE:
            return SeriesChange(row, False, f"{row.id} is {row.state}: there is nothing to pause")
        series.change(db, row, state=series.PAUSED, note=f"paused by {by}")
    return SeriesChange(row, True, f"{row.id} is paused: no further experiment of it is made")


def resume(db: Database, identifier: str, *, now_s: float) -> SeriesChange:
    """Go on with the next due time; those that came during the pause stay away. ``UsageError`` for what has ended."""
    from wlmctl.experiment.cron import Cron

    with _changing(db, identifier) as row:
        if row.is_final:
            raise UsageError(f"{row.id} is {row.state}: it cannot go on: submit its file again")
        if row.state != series.PAUSED:
            return SeriesChange(row, False, f"{row.id} is {row.state}, not paused")
        due = row.next_due
        if due is not None and due <= now_s:
            try:
                due = Cron(row.cron, row.timezone).after(now_s)
            except ValueError as error:
                raise UsageError(f"{row.id}: schedule {row.cron} in {row.timezone}: expected {error}") from error
        series.change(db, row, state=series.ACTIVE, next_due=due, note=None)
    return SeriesChange(row, True, f"{row.id} goes on")


@contextmanager
def _changing(db: Database, identifier: str) -> Iterator[SeriesRow]:
    """One transaction that changes one series."""
    with db.transaction():
        row = series.get(db, identifier)
        if row is None:
            raise NoSuch(f"no such series: '{identifier}'")
        yield row
