"""Which experiment or series a user means by an id or its beginning."""

from __future__ import annotations

from wlmctl.errors import NoSuch, UsageError
from wlmctl.store import series
from wlmctl.store.database import Database
from wlmctl.store.rows import EXPERIMENT_COLUMNS, ExperimentRow
from wlmctl.store.series import SeriesRow
from wlmctl.text import shown


def find_any(db: Database, text: str) -> ExperimentRow | SeriesRow:
    """The experiment or series with this id or unique prefix; ``NoSuch`` otherwise.

    A prefix without a dot means a series, never one of its experiments.
    """
    exact = db.row(f"SELECT {EXPERIMENT_COLUMNS} FROM experiments WHERE id = ?", (text,))
    if exact:
        return ExperimentRow(*exact)
    found = series.get(db, text)
    if found is not None:
        return found
    rows, others = _beginning_with(db, text), series.ids_beginning_with(db, text)
    if not text or not (rows or others):
        raise NoSuch(f"no such experiment: '{shown(text)}' (see: wlmctl status)")
    ids = [*(row.id for row in rows), *others]
    if len(ids) > 1:
        raise UsageError(f"{text!r} is the beginning of several ids: {', '.join(ids[:3])}: give more of it")
    found = None if rows else series.get(db, others[0])
    return rows[0] if found is None else found


def _beginning_with(db: Database, text: str) -> list[ExperimentRow]:
    """Up to four experiments, the newest first; those of a series only when the text has the series' whole id."""
    alone = "" if "." in text else " AND id NOT LIKE '%.%'"
    rows = db.rows(  # not by LIKE, to which PI is pi in SQLite: others would take the place of those that are meant
        f"SELECT {EXPERIMENT_COLUMNS} FROM experiments WHERE substr(id, 1, ?) = ?{alone} ORDER BY seq DESC LIMIT 4",
        (len(text), text),
    )
    return [ExperimentRow(*row) for row in rows]
