"""G10: the event log tells everything that is stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from wlmctl.store import Database, experiments
from wlmctl.store.events import events, fold
from wlmctl.store.rows import TASK_FIELDS


def assert_told_in_full(db: Database, seqs: Iterable[int]) -> None:
    """The fold of the events is what is stored, field by field, for experiments, tasks and bindings."""
    for seq in seqs:
        folded, row = fold(events(db, seq)), experiments.get(db, seq)
        assert row is not None
        assert folded.state == row.state
        stored = asdict(row)
        for name in ("started", "ended", "reason", "priority", "stopping", "cleaned", "task_count"):
            assert (folded.fields.get(name) or None) == (stored[name] or None), name
        assert folded.bindings == experiments.bindings(db, seq)
        for task in experiments.tasks(db, seq):
            told: dict[str, Any] = folded.tasks.get(task.idx, {"state": "waiting"})
            for name in TASK_FIELDS:
                expected, found = told.get(name), getattr(task, name)
                assert (expected or None) == (found or None), f"task {task.name}: {name} is {found}, told {expected}"
