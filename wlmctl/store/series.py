"""Series in the store: a schedule with the document of its experiments, the next due time, and what came of each."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from wlmctl.store.database import Database, Question
from wlmctl.store.rows import EXPERIMENT_COLUMNS, ExperimentRow, folder_column, folder_of_column

if TYPE_CHECKING:
    from wlmctl.experiment.model import Experiment
    from wlmctl.store.experiments import Submission

ACTIVE, PAUSED, CANCELLED, ENDED = "active", "paused", "cancelled", "ended"

#: States of a series that makes no further experiments, whatever is done with it.
FINAL = frozenset({CANCELLED, ENDED})


@dataclass(slots=True)
class SeriesRow:
    """One series as the store has it. Times are seconds since the epoch; ``made`` numbers its experiments."""

    id: str
    name: str
    owner: str
    host: str
    host_name: str
    folder: str
    state: str
    labels: str
    submit_key: str | None
    content_digest: str
    cron: str
    timezone: str
    catchup: int
    overlap: str
    created: float
    next_due: float | None
    made: int
    skipped: int
    ended: float | None
    note: str | None
    local_on: str | None

    def __post_init__(self) -> None:
        """Bring back a folder whose name is not UTF-8."""
        self.folder = folder_of_column(self.folder)

    @property
    def is_final(self) -> bool:
        """True when it makes no further experiments, whatever is done with it."""
        return self.state in FINAL

    @property
    def which_one(self) -> str:
        """What to name instead of the series, for a message."""
        if not self.made:
            return "no experiment of it has been due yet"
        return f"name one of its experiments, such as {self.id}.{self.made}"

    @property
    def label_list(self) -> list[str]:
        """The labels of its experiments, in the order given."""
        labels: list[str] = json.loads(self.labels)
        return labels


_COLUMNS = ", ".join(field.name for field in fields(SeriesRow))

#: What ``going_on`` asks.
GOING_ON: Question = f"SELECT {_COLUMNS} FROM series WHERE ended IS NULL ORDER BY created DESC, id", ()


def series_of(experiment_id: str) -> str | None:
    """The id of the series that an experiment belongs to, by its id ``<series>.<n>``; None: to none."""
    return experiment_id.rpartition(".")[0] or None


def create(db: Database, experiment: Experiment, submission: Submission, next_due_s: float | None) -> None:
    """Write a series with its files; call inside a transaction. ``submission.start_due_s`` does not count."""
    schedule = experiment.schedule
    assert schedule is not None
    values = {
        "id": submission.id, "name": experiment.name, "owner": submission.user, "host": submission.host,
        "host_name": submission.host_name, "folder": folder_column(experiment.folder),
        "state": ACTIVE if next_due_s is not None else ENDED, "labels": json.dumps(list(experiment.labels)),
        "document": submission.document, "submit_key": submission.key, "content_digest": submission.content_digest,
        "cron": schedule.cron, "timezone": schedule.timezone, "catchup": int(schedule.catchup),
        "overlap": schedule.overlap, "created": submission.created_s, "next_due": next_due_s,
        "ended": None if next_due_s is not None else submission.created_s, "local_on": submission.local_on,
    }  # fmt: skip
    marks = ", ".join("?" * len(values))
    db.execute(f"INSERT INTO series ({', '.join(values)}) VALUES ({marks})", list(values.values()))
    db.executemany(
        "INSERT INTO series_files (series, name, content) VALUES (?, ?, ?)",
        [(submission.id, name, body) for name, body in experiment.files.items()],
    )


def get(db: Database, identifier: str) -> SeriesRow | None:
    """The series with this id."""
    return _one(db, "id = ?", identifier)


def by_key(db: Database, key: str) -> SeriesRow | None:
    """The series that was submitted with this ``--key``."""
    return _one(db, "submit_key = ?", key)


def ids_beginning_with(db: Database, text: str) -> list[str]:
    """Up to four ids of series that begin with ``text``, the newest first."""
    sql = "SELECT id FROM series WHERE substr(id, 1, ?) = ? ORDER BY created DESC LIMIT 4"
    return [row[0] for row in db.rows(sql, (len(text), text))]


def going_on(db: Database) -> list[SeriesRow]:
    """The series that are not final, newest first."""
    return [SeriesRow(*row) for row in db.rows(*GOING_ON)]


def change(db: Database, row: SeriesRow, **changes: Any) -> None:
    """Set columns, in the store and in ``row``; inside a transaction."""
    columns = ", ".join(f"{name} = ?" for name in changes)
    db.execute(f"UPDATE series SET {columns} WHERE id = ?", (*changes.values(), row.id))
    for name, value in changes.items():
        setattr(row, name, value)


def document(db: Database, identifier: str) -> dict[str, Any]:
    """The checked file of the series as ``wlmctl.experiment.to_document`` made it."""
    value: dict[str, Any] = json.loads(db.row("SELECT document FROM series WHERE id = ?", (identifier,))[0])
    return value


def files(db: Database, identifier: str) -> dict[str, bytes]:
    """The files that were read at submit."""
    return dict(db.rows("SELECT name, content FROM series_files WHERE series = ?", (identifier,)))


def waiting(db: Database, identifier: str) -> list[float]:
    """The due times that wait for the end of an earlier experiment, in order."""
    rows = db.rows("SELECT due FROM series_dues WHERE series = ? AND exp IS NULL ORDER BY due", (identifier,))
    return [row[0] for row in rows]


def that_wait(db: Database) -> set[str]:
    """The ids of the series of which a due time waits."""
    return {row[0] for row in db.rows("SELECT DISTINCT series FROM series_dues WHERE exp IS NULL")}


def let_wait(db: Database, identifier: str, due_s: float) -> None:
    """Keep a due time until an earlier experiment has ended; inside a transaction."""
    db.execute("INSERT INTO series_dues (series, due) VALUES (?, ?)", (identifier, due_s))


def drop_waiting(db: Database, identifier: str) -> None:
    """Forget the due times that wait; inside a transaction."""
    db.execute("DELETE FROM series_dues WHERE series = ? AND exp IS NULL", (identifier,))


def keep_made(db: Database, identifier: str, due_s: float, number: int, seq: int) -> None:
    """Note which experiment a due time has brought; inside a transaction. A second one fails: the due time is taken."""
    db.execute("DELETE FROM series_dues WHERE series = ? AND due = ? AND exp IS NULL", (identifier, due_s))
    db.execute(
        "INSERT INTO series_dues (series, due, number, exp) VALUES (?, ?, ?, ?)", (identifier, due_s, number, seq)
    )


def is_busy(db: Database, identifier: str) -> bool:
    """True while an experiment of the series has not ended."""
    sql = (
        "SELECT 1 FROM series_dues JOIN experiments ON experiments.seq = series_dues.exp"
        " WHERE series_dues.series = ? AND experiments.ended IS NULL LIMIT 1"
    )
    return db.row(sql, (identifier,)) is not None


def experiments_of(db: Database, identifier: str) -> list[ExperimentRow]:
    """The experiments of the series that the store still has, newest first."""
    rows = db.rows(
        f"SELECT {EXPERIMENT_COLUMNS} FROM experiments WHERE seq IN"
        " (SELECT exp FROM series_dues WHERE series = ? AND exp IS NOT NULL) ORDER BY seq DESC",
        (identifier,),
    )
    return [ExperimentRow(*row) for row in rows]


def _one(db: Database, where: str, value: str) -> SeriesRow | None:
    row = db.row(f"SELECT {_COLUMNS} FROM series WHERE {where}", (value,))
    return SeriesRow(*row) if row else None
