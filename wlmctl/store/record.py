"""Changing a state: the row and its event, always together, only along the legal transitions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from wlmctl.states import EXPERIMENT_TRANSITIONS, TASK_TRANSITIONS, ExperimentState, TaskState
from wlmctl.store.database import Database

_encode: Callable[[Any], str] = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


class IllegalTransition(AssertionError):
    """A state change that the table of transitions does not know: a bug, never a user's mistake."""


class Recorder:
    """Writes the changes of one experiment inside the caller's transaction; ``flush`` before the commit.

    Events are numbered on from the experiment's own counter, read under the transaction's lock.
    """

    def __init__(self, db: Database, exp: int, now_s: float) -> None:
        self.db, self.exp, self.now_s = db, exp, now_s
        self._n: int = db.row("SELECT events FROM experiments WHERE seq = ?", (exp,))[0]
        self._first = self._n

    def _event(
        self,
        task: int | None,
        kind: str,
        source: str | None,
        target: str | None,
        reason: str | None,
        data: dict[str, Any],
    ) -> None:
        self._n += 1
        self.db.write(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self.exp, self._n, self.now_s, task, kind, source, target, reason, _encode(data) if data else None),
            lambda: AssertionError("an event was not written"),
        )

    def task(self, idx: int, source: TaskState, target: TaskState, **changes: Any) -> None:
        """Move one task from ``source`` to ``target`` and set the other columns given by name."""
        if target not in TASK_TRANSITIONS[source]:
            raise IllegalTransition(f"task {idx}: {source} -> {target}")
        columns = "".join(f", {name} = ?" for name in changes)
        self.db.write(
            f"UPDATE tasks SET state = ?{columns} WHERE exp = ? AND idx = ? AND state = ?",
            (target.value, *changes.values(), self.exp, idx, source.value),
            lambda: IllegalTransition(f"task {idx} is not {source} in the store"),
        )
        self._event(idx, "task", source.value, target.value, changes.get("reason"), changes)

    def task_fields(self, idx: int, kind: str, reason: str | None = None, **changes: Any) -> None:
        """Set columns of one task without a change of its state (a new dispatch, a handle)."""
        columns = ", ".join(f"{name} = ?" for name in changes)
        self.db.write(
            f"UPDATE tasks SET {columns} WHERE exp = ? AND idx = ?",
            (*changes.values(), self.exp, idx),
            lambda: IllegalTransition(f"task {idx} is not in the store"),
        )
        self._event(idx, kind, None, None, reason, changes)

    def experiment(self, source: ExperimentState, target: ExperimentState, **changes: Any) -> None:
        """Move the experiment from ``source`` to ``target`` and set the other columns given by name."""
        if target not in EXPERIMENT_TRANSITIONS[source]:
            raise IllegalTransition(f"experiment {self.exp}: {source} -> {target}")
        columns = "".join(f", {name} = ?" for name in changes)
        self.db.execute(
            f"UPDATE experiments SET state = ?{columns} WHERE seq = ?", (target.value, *changes.values(), self.exp)
        )
        self._event(None, "experiment", source.value, target.value, changes.get("reason"), changes)

    def experiment_fields(self, kind: str, reason: str | None = None, **changes: Any) -> None:
        """Set columns of the experiment without a change of its state (a priority)."""
        columns = ", ".join(f"{name} = ?" for name in changes)
        self.db.execute(f"UPDATE experiments SET {columns} WHERE seq = ?", (*changes.values(), self.exp))
        self._event(None, kind, None, None, reason, changes)

    def bind(self, role: str, machine: str) -> None:
        """Record the machine of a role."""
        self.db.execute("INSERT INTO bindings VALUES (?, ?, ?)", (self.exp, role, machine))
        self._event(None, "binding", None, None, None, {"role": role, "machine": machine})

    def note(self, kind: str, reason: str, task: int | None = None, **figures: Any) -> None:
        """Record something that changes no state: a held machine, a late result."""
        self._event(task, kind, None, None, reason, figures)

    def flush(self, *, foreign: bool = False) -> None:
        """Store the counter; ``foreign`` tells whoever works on this experiment to read it again."""
        if self._n != self._first or foreign:
            self.db.execute(
                "UPDATE experiments SET events = ?, revision = revision + ? WHERE seq = ?",
                (self._n, int(foreign), self.exp),
            )
            self._first = self._n
