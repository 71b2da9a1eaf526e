"""Whether a store is whole: the events fold to the state, nothing is without its experiment, nothing is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from wlmctl.store import experiments
from wlmctl.store.database import Database
from wlmctl.store.events import events, fold
from wlmctl.store.rows import TASK_FIELDS, ExperimentRow, TaskRow
from wlmctl.store.schema import tables
from wlmctl.text import shown

#: Fields of an experiment that its events carry.
_TOLD = ("started", "ended", "reason", "priority", "stopping", "cleaned", "task_count")

#: What a task has before any event names it.
_FRESH = {field.name: 0 if field.type == "int" else None for field in fields(TaskRow)} | {"state": "waiting"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be; ``experiment`` is an id, or None."""

    experiment: str | None
    text: str


def check(db: Database) -> Iterator[Finding]:
    """All findings; reads everything, in one snapshot."""
    for text in db.faults():
        yield Finding(None, f"the database is broken: {text}")
    with db.snapshot():
        yield from _orphans(db)
        for (seq,) in db.rows("SELECT seq FROM experiments ORDER BY seq"):
            row = experiments.get(db, seq)
            if row is not None:
                yield from (Finding(row.id, text) for text in _readable(_experiment(db, row)))


def _orphans(db: Database) -> Iterator[Finding]:
    for table in tables():
        if "exp" in db.columns(table):
            count = db.row(f"SELECT count(*) FROM {table} WHERE exp NOT IN (SELECT seq FROM experiments)")[0]
            if count:
                yield Finding(None, f"table {table}: {count} rows belong to no experiment")


def _readable(found: Iterator[str]) -> Iterator[str]:
    """What was found, up to something that cannot be read at all, which is a finding itself."""
    try:
        yield from found
    except (ValueError, TypeError, KeyError) as error:
        yield f"what is stored of it cannot be read: {shown(str(error))}"


def _experiment(db: Database, row: ExperimentRow) -> Iterator[str]:
    count, highest = db.row("SELECT count(*), max(n) FROM events WHERE exp = ?", (row.seq,))
    if count != row.events or highest != row.events:
        yield f"{count} events up to number {highest}, expected {row.events}"
    folded, stored = fold(events(db, row.seq)), asdict(row)
    if folded.state != row.state:
        yield f"its state is {row.state}, its events say {folded.state}"
    for name in _TOLD:
        if _differ(folded.fields.get(name), stored[name]):
            yield f"{name} is {stored[name]}, its events say {folded.fields.get(name)}"
    bindings = experiments.bindings(db, row.seq)
    if folded.bindings != bindings:
        yield f"its roles are bound to {bindings}, its events say {folded.bindings}"
    seen = 0
    for task in experiments.tasks(db, row.seq):
        seen += 1
        told: dict[str, Any] = folded.tasks.pop(task.idx, {})
        for name in TASK_FIELDS:
            if _differ(told.get(name, _FRESH[name]), getattr(task, name)):
                yield f"task {task.name}: {name} is {getattr(task, name)!r}, its events say {told.get(name)!r}"
    if seen != row.task_count:
        yield f"{seen} tasks, expected {row.task_count}"
    if folded.tasks:
        yield f"events name {len(folded.tasks)} tasks that it does not have"


def _differ(told: Any, stored: Any) -> bool:
    return (told or None) != (stored or None)
