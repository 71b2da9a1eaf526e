"""How far steps under way are, as their workers last said."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple, dataclass, fields

from wlmctl.store.database import Database


@dataclass(frozen=True, slots=True)
class ProgressRow:
    """One step. ``task`` is its position, ``rate_bytes_s`` its rate over the last seconds, ``time`` when it was so.

    ``left_s``: the seconds to its end, where that could be told.
    """

    exp: int
    task: int
    attempt: int
    what: str
    bytes_done: int
    bytes_total: int
    files_done: int
    files_total: int
    sent_bytes: int
    resumed_bytes: int
    skipped: int
    rate_bytes_s: float
    left_s: float | None
    time: float


_NAMES = tuple(field.name for field in fields(ProgressRow))
_COLUMNS = ", ".join(_NAMES)
_PUT = (
    f"INSERT INTO progress ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))}) ON CONFLICT (exp, task) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _NAMES[2:])
)


def put(db: Database, rows: Iterable[ProgressRow]) -> None:
    """These steps are so far now; inside a transaction."""
    db.executemany(_PUT, [astuple(row) for row in rows])


def remove(db: Database, tasks: Collection[tuple[int, int]]) -> None:
    """These tasks, by experiment and position, are under way no longer; inside a transaction."""
    db.executemany("DELETE FROM progress WHERE exp = ? AND task = ?", tasks)


def of_experiments(db: Database, seqs: Sequence[int]) -> list[ProgressRow]:
    """The steps of these experiments that are under way and have said how far they are."""
    if not seqs:
        return []
    columns = ", ".join(f"progress.{name}" for name in _NAMES)
    sql = (
        f"SELECT {columns} FROM progress JOIN tasks ON tasks.exp = progress.exp AND tasks.idx = progress.task"
        " AND tasks.attempt = progress.attempt AND tasks.state IN ('assigned', 'running', 'cancelling')"
        f" WHERE progress.exp IN ({', '.join('?' * len(seqs))}) ORDER BY progress.exp, progress.task"
    )
    return [ProgressRow(*row) for row in db.rows(sql, tuple(seqs))]
