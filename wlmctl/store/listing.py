"""Rows as JSON and counts, made by the database itself: what `status` shows of many tasks without reading them all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache

from wlmctl.store.database import Database
from wlmctl.store.dialect import Dialect

_AS_THEY_ARE = (
    ("id", "name"), ("type", "type"), ("state", "state"), ("machine", "machine"), ("attempt", "attempt"),
    ("worker", "worker"), ("exit_code", "exit_code"), ("failure_class", "failure_class"), ("reason", "reason"),
)  # fmt: skip

#: Groups of at most so many tasks are listed one by one.
FOLD_ABOVE = 20


def tasks_json(db: Database, seq: int) -> Iterator[str]:
    """Each task of the experiment as one JSON object, in file order."""
    for (text,) in db.pull(_task_json(db.dialect), (seq,)):
        yield text


#: How far a step is, as ``status`` shows it; null for what is not under way or does not say.
_PROGRESS = (
    "what", "bytes_done", "bytes_total", "files_done", "files_total", "sent_bytes", "resumed_bytes", "skipped",
    "rate_bytes_s", "left_s",
)  # fmt: skip


@cache
def _task_json(dialect: Dialect) -> str:
    parts = [f"'{key}', tasks.{column}" for key, column in _AS_THEY_ARE]
    parts += [f"'{column}', {dialect.rfc3339.format('tasks.' + column)}" for column in ("started", "ended", "due")]
    parts.append(f"'changed_resources', {dialect.json_part.format('tasks.asked')}")
    parts += [f"'outputs', {dialect.json_part.format('tasks.outputs')}", "'folder', tasks.folder"]
    progress = [f"'{name}', p.{name}" for name in _PROGRESS]
    progress.append(f"'time', {dialect.rfc3339.format('p.time')}")
    told = f"CASE WHEN p.task IS NOT NULL THEN {dialect.json_object}({', '.join(progress)}) END"
    parts.append(f"'progress', {dialect.json_part.format(told)}")
    return (
        f"SELECT CAST({dialect.json_object}({', '.join(parts)}) AS text) FROM tasks LEFT JOIN progress AS p"
        " ON p.exp = tasks.exp AND p.task = idx AND p.attempt = tasks.attempt"
        " AND state IN ('assigned', 'running', 'cancelling') WHERE tasks.exp = ? ORDER BY idx"
    )


def counts_of_all(db: Database, seqs: Sequence[int]) -> dict[int, dict[str, int]]:
    """How many tasks are in each state, for each experiment."""
    found: dict[int, dict[str, int]] = {seq: {} for seq in seqs}
    if 0 < len(seqs) <= 500:
        where, values = f"WHERE exp IN ({', '.join('?' * len(seqs))})", tuple[int, ...](seqs)
    else:
        where, values = "", ()
    for seq, state, count in db.execute(f"SELECT exp, state, count(*) FROM tasks {where} GROUP BY exp, state", values):
        if seq in found:
            found[seq][state] = count
    return found


def groups(db: Database, seq: int) -> list[tuple[int, str, str, int]]:
    """For each task of the file: (template, name of an instance, type, how many instances)."""
    return db.rows(
        "SELECT template, min(name), min(type), count(*) FROM tasks WHERE exp = ? GROUP BY template ORDER BY template",
        (seq,),
    )


def reasons_to_wait(db: Database, seq: int) -> list[tuple[str, str]]:
    """For each task of the file that is ready and was said to wait: its name, and the newest reason.

    In three plain questions: joined in one they take PostgreSQL minutes, while it has no statistics of the experiment.
    """
    told: dict[int, tuple[int, str]] = {
        task: (n, reason)
        for n, task, reason in db.rows(
            "SELECT n, task, reason FROM events WHERE exp = ? AND kind = 'waiting' ORDER BY n", (seq,)
        )
    }
    if not told:
        return []
    sql = "SELECT idx, template, name FROM tasks WHERE exp = ? AND state = 'ready' ORDER BY idx"
    ready = [row for row in db.rows(sql, (seq,)) if row[0] in told]
    if not ready:
        return []
    idxs = [idx for idx, *_ in ready]
    moved: dict[int, int] = dict(
        db.rows(
            "SELECT task, max(n) FROM events WHERE exp = ? AND kind = 'task'"
            f" AND task IN ({', '.join('?' * len(idxs))}) GROUP BY task",
            (seq, *idxs),
        )
    )
    newest: dict[int, tuple[int, str, str]] = {}
    for idx, template, name in ready:
        n, reason = told[idx]
        if n > moved.get(idx, 0):
            newest[template] = max(newest.get(template, (0, "", "")), (n, name.partition("[")[0], reason))
    return [(name, reason) for _, (_, name, reason) in sorted(newest.items())]


def told_machines(db: Database, seq: int) -> set[str]:
    """The machines of which the experiment was told that they are held."""
    rows = db.rows("SELECT DISTINCT data FROM events WHERE exp = ? AND kind = 'held'", (seq,))
    return {json.loads(data)["machine"] for (data,) in rows}


def states_of_group(db: Database, seq: int, template: int) -> list[tuple[str, int, str | None]]:
    """For each state that instances of the task are in: (state, how many, one of the reasons)."""
    return db.rows(
        "SELECT state, count(*), max(reason) FROM tasks WHERE exp = ? AND template = ? GROUP BY state"
        " ORDER BY min(idx)",
        (seq, template),
    )
