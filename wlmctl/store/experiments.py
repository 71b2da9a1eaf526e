"""Experiments in the store: writing a new one, finding and listing them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from wlmctl.errors import NoSuch, UsageError
from wlmctl.states import TaskState
from wlmctl.store.database import Database, Question
from wlmctl.store.finding import find_any
from wlmctl.store.rows import EXPERIMENT_COLUMNS, TASK_COLUMNS, ExperimentRow, TaskRow, folder_column
from wlmctl.store.series import SeriesRow

if TYPE_CHECKING:
    from wlmctl.experiment.model import Experiment

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"

#: The most rows that are read at once.
FEW = 1000

#: What ``going_on`` asks.
GOING_ON: Question = "SELECT seq, revision, task_count FROM experiments WHERE ended IS NULL AND origin = 'submit'", ()

_GET = f"SELECT {EXPERIMENT_COLUMNS} FROM experiments WHERE seq = ?"
_DOCUMENT = "SELECT document FROM experiments WHERE seq = ?"
_BINDINGS = "SELECT role, machine FROM bindings WHERE exp = ?"


@dataclass(frozen=True, slots=True)
class Submission:
    """What a submit adds to the file: who, where, when, and how it is kept from happening twice.

    ``local_on``: the name, host or label of the worker that is to be ``local``; None: the host of the submit.
    """

    id: str
    user: str
    host: str
    host_name: str
    origin: str
    created_s: float
    start_due_s: float | None
    document: str
    content_digest: str
    key: str | None = None
    local_on: str | None = None


def new_id(name: str) -> str:
    """``<name>-<6 of a-z2-7>``, made by the client, so that a write can be repeated."""
    return f"{name}-" + "".join(_ALPHABET[byte % 32] for byte in os.urandom(6))


def create(db: Database, experiment: Experiment, submission: Submission) -> int:
    """Write the experiment, its tasks and files; call inside a transaction. Returns its ``seq``."""
    state = "scheduled" if submission.start_due_s is not None else "running"
    db.execute(
        'INSERT INTO experiments (id, name, project, "user", host, host_name, folder, origin, state, priority, labels,'
        " document, submit_key, content_digest, task_count, created, start_due, started, local_on, events)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
        (
            submission.id, experiment.name, experiment.project, submission.user, submission.host,
            submission.host_name, folder_column(experiment.folder), submission.origin, state, experiment.priority,
            json.dumps(list(experiment.labels)), submission.document, submission.key, submission.content_digest,
            experiment.task_count, submission.created_s, submission.start_due_s,
            submission.created_s if state == "running" else None, submission.local_on,
        ),
    )  # fmt: skip
    seq: int = db.row("SELECT seq FROM experiments WHERE id = ?", (submission.id,))[0]
    db.executemany(
        "INSERT INTO tasks (exp, idx, template, position, name, type) VALUES (?, ?, ?, ?, ?, ?)",
        _task_rows(seq, experiment),
    )
    db.executemany("INSERT INTO files VALUES (?, ?, ?)", ((seq, name, body) for name, body in experiment.files.items()))
    data = {"priority": experiment.priority, "task_count": experiment.task_count}
    if state == "running":
        data["started"] = submission.created_s  # type: ignore[assignment]
    db.execute(
        "INSERT INTO events VALUES (?, 1, ?, NULL, 'experiment', NULL, ?, NULL, ?)",
        (seq, submission.created_s, state, json.dumps(data)),
    )
    return seq


def _task_rows(seq: int, experiment: Experiment) -> Iterator[tuple[Any, ...]]:
    idx = 0
    for number, template in enumerate(experiment.templates):
        for position in range(len(template.rows)):
            yield seq, idx, number, position, template.instance_name(position), template.type
            idx += 1


def by_key(db: Database, key: str) -> ExperimentRow | None:
    """The experiment that was submitted with this ``--key``."""
    row = db.row(f"SELECT {EXPERIMENT_COLUMNS} FROM experiments WHERE submit_key = ?", (key,))
    return ExperimentRow(*row) if row else None


def find(db: Database, text: str) -> ExperimentRow:
    """The experiment with this id or unique prefix; ``NoSuch`` otherwise, ``UsageError`` for the id of a series."""
    found = find_any(db, text)
    if isinstance(found, SeriesRow):
        raise UsageError(f"{found.id} is a series: {found.which_one}")
    return found


def get(db: Database, seq: int) -> ExperimentRow | None:
    """The experiment with this number."""
    row = db.row(_GET, (seq,))
    return ExperimentRow(*row) if row else None


def going_on(db: Database) -> dict[int, tuple[int, int]]:
    """The submitted experiments that have not ended: how often others have changed each, and how many tasks it has."""
    return {seq: (revision, count) for seq, revision, count in db.rows(*GOING_ON)}


def select(
    db: Database,
    *,
    name: str | None = None,
    labels: Sequence[str] = (),
    states: Sequence[str] = (),
    since_s: float | None = None,
    limit: int | None = None,
) -> list[ExperimentRow]:
    """Experiments that match every filter given (``name`` is a glob), newest first."""
    where, values = ["1 = 1"], list[Any]()
    if name is not None:
        where.append(db.dialect.like_glob.format("name"))
        values.append(db.dialect.pattern(name))
    if states:
        where.append(f"state IN ({', '.join('?' * len(states))})")
        values.extend(states)
    if since_s is not None:
        where.append("created >= ?")
        values.append(since_s)
    for label in labels:
        where.append(db.dialect.has_element.format("labels"))
        values.append(label)
    tail = f" LIMIT {int(limit)}" if limit is not None else ""
    rows = db.rows(
        f"SELECT {EXPERIMENT_COLUMNS} FROM experiments WHERE {' AND '.join(where)} ORDER BY seq DESC{tail}", values
    )
    return [ExperimentRow(*row) for row in rows]


def document(db: Database, seq: int) -> dict[str, Any]:
    """The checked experiment as ``wlmctl.experiment.to_document`` made it."""
    value: dict[str, Any] = json.loads(db.row(_DOCUMENT, (seq,))[0])
    return value


def tasks(db: Database, seq: int, *, states: Sequence[str] = ()) -> Iterator[TaskRow]:
    """The experiment's tasks in file order, all or those in the given states."""
    where = f" AND state IN ({', '.join('?' * len(states))})" if states else ""
    for row in db.pull(f"SELECT {TASK_COLUMNS} FROM tasks WHERE exp = ?{where} ORDER BY idx", (seq, *states)):
        yield TaskRow(*row)


def tasks_in(db: Database, seq: int, states: Sequence[str]) -> list[tuple[int, TaskState]]:
    """The experiment's tasks in the given states, in file order: which, and in which of them."""
    sql = f"SELECT idx, state FROM tasks WHERE exp = ? AND state IN ({', '.join('?' * len(states))}) ORDER BY idx"
    known = {state.value: state for state in TaskState}
    return [(idx, known[state]) for idx, state in db.rows(sql, (seq, *states))]


class Standing(NamedTuple):
    """How one task stands: what is to be known of all tasks at once."""

    idx: int
    template: int
    state: str
    attempt: int
    dispatch: int
    kills: int
    careful: int
    asked: str | None
    due: float | None


_STANDING = f"SELECT {', '.join(Standing._fields)} FROM tasks WHERE exp = ? ORDER BY idx"


def standings(db: Database, seq: int, *, count: int) -> Iterator[Standing]:
    """How the experiment's tasks stand, in file order. It has ``count`` of them: few are read in one question."""
    return map(Standing._make, db.rows(_STANDING, (seq,)) if count <= FEW else db.pull(_STANDING, (seq,)))


def questions(seq: int, *, count: int) -> list[Question]:
    """What ``get``, ``document``, ``bindings`` and, of few tasks, ``standings`` ask of an experiment of ``count``."""
    return [(sql, (seq,)) for sql in (_GET, _DOCUMENT, _BINDINGS, *([_STANDING] if count <= FEW else []))]


def outputs(db: Database, seq: int, templates: Sequence[int]) -> list[tuple[int, int, str]]:
    """Template, position and outputs of the tasks of these templates that have succeeded with some."""
    wanted = ", ".join(map(str, templates))
    return db.rows(
        f"SELECT template, position, outputs FROM tasks WHERE exp = ? AND state = ? AND template IN ({wanted})"
        " AND outputs IS NOT NULL",
        (seq, TaskState.SUCCEEDED.value),
    )


def task(db: Database, seq: int, idx: int) -> TaskRow:
    """One task."""
    return TaskRow(*db.row(f"SELECT {TASK_COLUMNS} FROM tasks WHERE exp = ? AND idx = ?", (seq, idx)))


def tasks_named(db: Database, row: ExperimentRow, template: str, name: str | None) -> list[TaskRow]:
    """The instances of a template, or the one called ``name`` (``simulate[1]``); ``NoSuch`` when there is none."""
    if name is not None:
        found = db.rows(f"SELECT {TASK_COLUMNS} FROM tasks WHERE exp = ? AND name = ?", (row.seq, name))
    else:
        found = db.rows(
            f"SELECT {TASK_COLUMNS} FROM tasks WHERE exp = ?"
            f" AND (name = ? OR {db.dialect.like_glob.format('name')}) ORDER BY idx",
            (row.seq, template, db.dialect.pattern(f"{template}[[]*")),
        )
    if not found:
        raise NoSuch(f"experiment {row.id} has no task {name or template!r} (see: wlmctl status {row.id})")
    return [TaskRow(*values) for values in found]


def counts(db: Database, seq: int) -> dict[str, int]:
    """How many tasks are in each state."""
    return dict(db.rows("SELECT state, count(*) FROM tasks WHERE exp = ? GROUP BY state", (seq,)))


def bindings(db: Database, seq: int) -> dict[str, str]:
    """The machine of each role bound so far."""
    return dict(db.rows(_BINDINGS, (seq,)))


def files(db: Database, seq: int) -> dict[str, bytes]:
    """The files that were read at submit."""
    return dict(db.rows("SELECT name, content FROM files WHERE exp = ?", (seq,)))


def replace_text(db: Database, seq: int, document: str, contents: Mapping[str, bytes]) -> None:
    """Put another document and other files in place of those of the submit; inside a transaction."""
    db.execute("UPDATE experiments SET document = ? WHERE seq = ?", (document, seq))
    db.execute("DELETE FROM files WHERE exp = ?", (seq,))
    db.executemany("INSERT INTO files VALUES (?, ?, ?)", ((seq, name, body) for name, body in contents.items()))


def forget(db: Database, seq: int) -> None:
    """Remove everything the store has of the experiment; call inside a transaction."""
    of_experiments = "tasks events bindings files logs follows live_logs folders series_dues progress"
    for table in of_experiments.split():
        db.execute(f"DELETE FROM {table} WHERE exp = ?", (seq,))
    db.execute("DELETE FROM experiments WHERE seq = ?", (seq,))
