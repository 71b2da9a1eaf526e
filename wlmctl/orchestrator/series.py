"""Series: at each due time one experiment, once, whoever leads and whatever was killed in between.

A due time and the experiment that it brings are written in one transaction of the leader, so that there are both or
neither; the next due time is a row of the store, so that nothing depends on who was there to count.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wlmctl.experiment import from_document
from wlmctl.orchestrator.book import Book
from wlmctl.store import Database, experiments, series
from wlmctl.store.series import SeriesRow

if TYPE_CHECKING:
    from wlmctl.experiment.cron import Cron

log = logging.getLogger(__name__)

#: A due time that is at most so many seconds old is kept as if it were now: longer than another leader takes to follow.
LATE_S = 30.0

#: Due times of one series looked at, and experiments made of them, in one transaction.
CHUNK, MOST_MADE = 200, 5


class SeriesWatch:
    """The series that are active, as the leader knows them between two looks at the store."""

    def __init__(self) -> None:
        self._series: dict[str, tuple[SeriesRow, Cron]] = {}
        #: Those of which a due time waits for the end of an earlier experiment.
        self._waiting: set[str] = set()
        self._is_changed = True
        #: When there is something to do again, in seconds since the epoch; None: not before something changes.
        self.next_s: float | None = None

    def read(self, db: Database) -> None:
        """Another process has written: read the series again."""
        rows = [row for row in series.going_on(db) if row.state == series.ACTIVE]
        known, self._series = self._series, {}
        for row in rows:
            cron = known[row.id][1] if row.id in known else _cron(row)
            if cron is not None:
                self._series[row.id] = row, cron
        self._waiting = series.that_wait(db) if self._series else set()
        self._is_changed = True

    def look_again(self) -> bool:
        """An experiment has ended: what waited for it may begin. True when there is a series to look at."""
        self._is_changed |= bool(self._waiting)
        return bool(self._waiting)

    def release(self, book: Book) -> list[int]:
        """Keep the due times that have come; the numbers of the new experiments in the store."""
        if not self._is_changed and (self.next_s is None or book.now_s < self.next_s):
            return []
        made = list[int]()
        for key, (known, cron) in list(self._series.items()):
            is_due = known.next_due is not None and known.next_due <= book.now_s
            if not is_due and not (self._is_changed and key in self._waiting):
                continue
            row = series.get(book.db, key)
            if row is not None and row.state == series.ACTIVE:
                waits = _keep_due_times(book, row, cron, made)
                (self._waiting.add if waits else self._waiting.discard)(key)
                self._series[key] = row, cron
            if row is None or row.state != series.ACTIVE:
                del self._series[key]
        self.next_s = min((row.next_due for row, _ in self._series.values() if row.next_due is not None), default=None)
        self._is_changed = False
        return made


def _cron(row: SeriesRow) -> Cron | None:
    """The due times of a series; None, with a line in the log, where this host does not know the time zone."""
    from wlmctl.experiment.cron import Cron

    try:
        return Cron(row.cron, row.timezone)
    except ValueError as error:
        log.error("series %s waits: %s in %s: expected %s", row.id, row.cron, row.timezone, error)
        return None


def _keep_due_times(book: Book, row: SeriesRow, cron: Cron, made: list[int]) -> bool:
    """What has come due, in order: made, waiting, skipped or missed. True when some wait; new ones go to ``made``."""
    waits = series.waiting(book.db, row.id)
    is_due = row.next_due is not None and row.next_due <= book.now_s
    is_busy = bool(waits or is_due) and series.is_busy(book.db, row.id)
    if waits and not is_busy:
        made.append(_make(book, row, waits.pop(0)))
        is_busy = True
    looked_at, most = 0, len(made) + MOST_MADE
    while row.next_due is not None and row.next_due <= book.now_s and looked_at < CHUNK and len(made) < most:
        looked_at += 1
        due, is_late = row.next_due, row.next_due < book.now_s - LATE_S
        if is_late and not row.catchup:
            following = cron.after(book.now_s - LATE_S - 0.001)
            _note(book, row, f"missed {_shown(due)}, and all until {_shown(following)}: no orchestrator was running")
        else:
            following = cron.after(due)
            if row.overlap == "allow" or not (is_busy or waits):
                made.append(_make(book, row, due))
                is_busy = True
            elif row.overlap == "queue" or is_late:
                series.let_wait(book.db, row.id, due)
                waits.append(due)
            else:
                _note(book, row, f"skipped {_shown(due)}: an earlier experiment was going on", skipped=row.skipped + 1)
        series.change(book.db, row, next_due=following)
    if row.next_due is None and not waits:
        series.change(book.db, row, state=series.ENDED, ended=book.now_s)
    return bool(waits)


def _make(book: Book, row: SeriesRow, due_s: float) -> int:
    """Write the experiment of one due time; it begins like one whose start has come."""
    number = row.made + 1
    document = series.document(book.db, row.id)
    document |= {"schedule": None, "start": None, "start_after_s": None}
    experiment = from_document(document, series.files(book.db, row.id))
    submission = experiments.Submission(
        id=f"{row.id}.{number}",
        user=row.owner,
        host=row.host,
        host_name=row.host_name,
        origin="submit",
        created_s=book.now_s,
        start_due_s=due_s,
        document=json.dumps(document, separators=(",", ":")),
        content_digest=row.content_digest,
        local_on=row.local_on,
    )
    seq = experiments.create(book.db, experiment, submission)
    series.keep_made(book.db, row.id, due_s, number, seq)
    series.change(book.db, row, made=number)
    log.info("%s: due at %s", submission.id, _shown(due_s))
    return seq


def _note(book: Book, row: SeriesRow, text: str, **changes: object) -> None:
    """Something that the series' user should know; the newest of such notes is shown."""
    log.info("%s: %s", row.id, text)
    series.change(book.db, row, note=text, **changes)


def _shown(time_s: float | None) -> str:
    if time_s is None:
        return "the end"
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
