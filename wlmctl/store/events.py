"""The append-only event log, and the state folded from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from wlmctl.store.database import Database
from wlmctl.store.rows import EVENT_COLUMNS, EventRow


def events(db: Database, seq: int, *, after: int = 0, task: int | None = None) -> Iterator[EventRow]:
    """The experiment's events with a number above ``after``, in order; of one task only when it is given."""
    where, values = ("", ()) if task is None else (" AND task = ?", (task,))
    sql = f"SELECT {EVENT_COLUMNS} FROM events WHERE exp = ? AND n > ?{where} ORDER BY n"
    for row in db.pull(sql, (seq, after, *values)):
        yield EventRow(*row)


@dataclass(slots=True)
class Folded:
    """An experiment's state as its events tell it. ``tasks`` has only tasks that some event names."""

    state: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    bindings: dict[str, str] = field(default_factory=dict)


def fold(log: Iterable[EventRow]) -> Folded:
    """The state after all of these events, from nothing else. A task that no event names is ``waiting``."""
    folded = Folded()
    for event in log:
        if event.task is not None:
            task = folded.tasks.setdefault(event.task, {"state": "waiting"})
            if event.kind in NOTES:
                continue
            if event.target is not None:
                task["state"] = event.target
            task.update(event.values)
        elif event.kind == "binding":
            folded.bindings[event.values["role"]] = event.values["machine"]
        elif event.kind not in NOTES:
            if event.target is not None:
                folded.state = event.target
            folded.fields.update(event.values)
    return folded


#: Kinds of events that record something without changing any state.
NOTES = frozenset({"held", "released", "late", "illegal", "scheduler", "clean", "waiting", "declined"})
