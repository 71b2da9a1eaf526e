"""Changing a state: the row and its event, always together, only along the legal transitions."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

from wlmctl.states import EXPERIMENT_TRANSITIONS, TASK_TRANSITIONS, ExperimentState, TaskState
from wlmctl.store.database import Database

_encode: Callable[[Any], str] = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


_INSERT_EVENT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


@lru_cache(maxsize=256)
def _update(columns: tuple[str, ...], has_source: bool) -> str:
    """The statement that sets these columns of one task, of one in a given state where ``has_source``."""
    settings = ", ".join(f"{name} = ?" for name in columns)
    return f"UPDATE tasks SET {settings} WHERE exp = ? AND idx = ?{' AND state = ?' if has_source else ''}"


@cache
def _quick_encoder() -> Callable[[Any], str]:
    """Several times as fast, for whoever has imported what it needs."""
    import msgspec

    encode = msgspec.json.Encoder().encode

    def quick(data: Any) -> str:
        try:
            return encode(data).decode("ascii")
        except UnicodeError:  # as the other one writes it, escaped
            return _encode(data)

    return quick


class IllegalTransition(AssertionError):
    """A state change that the table of transitions does not know: a bug, never a user's mistake."""


class Recorder:
    """Writes the changes of one experiment inside the caller's transaction; ``flush`` before the commit.

    Events are numbered on from the experiment's own counter, read under the transaction's lock. ``gather``: changes
    of tasks reach the store only at ``settle`` or ``flush``, many at once; who reads tasks before calls ``settle``.
    ``count``: the counter, where the caller knows that nobody else has written.
    """

    def __init__(self, db: Database, exp: int, now_s: float, *, gather: bool = False, count: int | None = None) -> None:
        self.db, self.exp, self.now_s = db, exp, now_s
        self._n: int = db.row("SELECT events FROM experiments WHERE seq = ?", (exp,))[0] if count is None else count
        self._first = self._n
        self._gather = gather
        self._encode = _quick_encoder() if "msgspec" in sys.modules else _encode
        self._events: list[tuple[Any, ...]] = []
        #: By task: the state in the store as far as it is known, and the new values.
        self._changed: dict[int, tuple[str | None, dict[str, Any]]] = {}

    @property
    def count(self) -> int:
        """The number of the last event."""
        return self._n

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
        self._events.append(
            (self.exp, self._n, self.now_s, task, kind, source, target, reason, self._encode(data) if data else None)
        )
        if not self._gather:
            self.settle()

    def task(self, idx: int, source: TaskState, target: TaskState, **changes: Any) -> None:
        """Move one task from ``source`` to ``target`` and set the other columns given by name."""
        if target not in TASK_TRANSITIONS[source]:
            raise IllegalTransition(f"task {idx}: {source} -> {target}")
        stored, values = self._changed.get(idx) or (None, {})
        before, after = source._value_, target._value_  # ``value`` takes its time
        known = values.get("state")
        if known is None:
            stored = before
        elif known != before:
            raise IllegalTransition(f"task {idx} is not {source} but {known}")
        values.update(changes)
        values["state"] = after
        self._changed[idx] = stored, values
        self._event(idx, "task", before, after, changes.get("reason"), changes)

    def task_fields(self, idx: int, kind: str, reason: str | None = None, **changes: Any) -> None:
        """Set columns of one task without a change of its state (a new dispatch, a handle)."""
        stored, values = self._changed.get(idx) or (None, {})
        values.update(changes)
        self._changed[idx] = stored, values
        self._event(idx, kind, None, None, reason, changes)

    def experiment(self, source: ExperimentState, target: ExperimentState, **changes: Any) -> None:
        """Move the experiment from ``source`` to ``target`` and set the other columns given by name."""
        if target not in EXPERIMENT_TRANSITIONS[source]:
            raise IllegalTransition(f"experiment {self.exp}: {source} -> {target}")
        columns = "".join(f", {name} = ?" for name in changes)
        self._write(
            f"UPDATE experiments SET state = ?{columns} WHERE seq = ?", (target.value, *changes.values(), self.exp)
        )
        self._event(None, "experiment", source.value, target.value, changes.get("reason"), changes)

    def experiment_fields(self, kind: str, reason: str | None = None, **changes: Any) -> None:
        """Set columns of the experiment without a change of its state (a priority)."""
        columns = ", ".join(f"{name} = ?" for name in changes)
        self._write(f"UPDATE experiments SET {columns} WHERE seq = ?", (*changes.values(), self.exp))
        self._event(None, kind, None, None, reason, changes)

    def bind(self, role: str, machine: str, **figures: int) -> None:
        """Record the machine of a role, and figures of why it is this one."""
        self.db.execute("INSERT INTO bindings VALUES (?, ?, ?)", (self.exp, role, machine))
        self._event(None, "binding", None, None, None, {"role": role, "machine": machine, **figures})

    def note(self, kind: str, reason: str, task: int | None = None, **figures: Any) -> None:
        """Record something that changes no state: a held machine, a late result."""
        self._event(task, kind, None, None, reason, figures)

    def settle(self) -> None:
        """Write what was gathered: each task once, with all that has become of it; rows of one shape together."""
        changed, self._changed = self._changed, {}
        shapes: dict[tuple[bool, tuple[str, ...]], list[tuple[Any, ...]]] = {}
        for idx, (source, values) in changed.items():
            row = (*values.values(), self.exp, idx)
            shapes.setdefault((source is not None, tuple(values)), []).append(row if source is None else (*row, source))
        for (has_source, columns), rows in shapes.items():
            self.db.write_many(_update(columns, has_source), rows, self._refused)
        events, self._events = self._events, []
        if events:
            self.db.write_many(_INSERT_EVENT, events, lambda: AssertionError("an event was not written"))

    def _refused(self) -> Exception:
        return IllegalTransition(f"a task of experiment {self.exp} is not in the store as it should be")

    def flush(self, *, foreign: bool = False) -> None:
        """Store the counter; ``foreign`` tells whoever works on this experiment to read it again."""
        self.settle()
        if self._n != self._first or foreign:
            self._write(
                "UPDATE experiments SET events = ?, revision = revision + ? WHERE seq = ?",
                (self._n, int(foreign), self.exp),
            )
            self._first = self._n

    def _write(self, sql: str, values: Sequence[Any]) -> None:
        """Change the row of the experiment."""
        self.db.write(sql, values, lambda: AssertionError(f"experiment {self.exp} is not in the store"))
