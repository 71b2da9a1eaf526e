"""Experiments put straight into a store, in any state, for tests of what reads and changes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wlmctl.experiment.model import Experiment, Need, Template
from wlmctl.host import host_id
from wlmctl.states import ExperimentState, TaskState
from wlmctl.store import experiments
from wlmctl.store.database import Database
from wlmctl.store.record import Recorder
from wlmctl.store.rows import TaskRow
from wlmctl.store.sqlite import SqliteDatabase

NOW_S = 1_700_000_000.0


def open_database(folder: Path) -> Database:
    """A new store in ``folder``."""
    return SqliteDatabase(f"sqlite:///{folder / 'wlmctl.db'}")


def template(name: str, *, count: int = 0, needs: Sequence[str | Need] = (), type_: str = "job") -> Template:
    """A task of a file; with ``count`` it has so many instances, ``name[1]`` and on."""
    edges = tuple(Need(need) if isinstance(need, str) else need for need in needs)
    if not count:
        return Template(name, type_, {"command": "true"}, needs=edges)
    rows = tuple((str(value),) for value in range(1, count + 1))
    return Template(name, type_, {"command": "true"}, keys=("i",), rows=rows, needs=edges)


def put(
    db: Database,
    templates: Sequence[Template],
    *,
    name: str = "pi",
    states: Mapping[str, str] | None = None,
    state: str = "running",
    origin: str = "submit",
    labels: Sequence[str] = (),
    start_due_s: float | None = None,
    folder: str = "/data/pi",
    now_s: float = NOW_S,
) -> int:
    """Write an experiment whose tasks (by name) are in ``states``, the others waiting; returns its number."""
    from wlmctl.experiment import to_document

    experiment = Experiment(name, tuple(templates), labels=tuple(labels), folder=folder)
    submission = experiments.Submission(
        experiments.new_id(name), "me", host_id(), "here", origin, now_s, start_due_s,
        json.dumps(to_document(experiment)), "digest",
    )  # fmt: skip
    with db.transaction():
        seq = experiments.create(db, experiment, submission)
        recorder = Recorder(db, seq, now_s)
        for task in list(experiments.tasks(db, seq)):
            _bring(recorder, task, TaskState((states or {}).get(task.name, "waiting")), now_s)
        at = ExperimentState.SCHEDULED if start_due_s is not None else ExperimentState.RUNNING
        if state != at:
            final = {"ended": now_s + 60} if state in ("succeeded", "failed", "cancelled") else {}
            recorder.experiment(at, ExperimentState(state), **final)
        recorder.flush()
    return seq


def _bring(recorder: Recorder, task: TaskRow, state: TaskState, now_s: float) -> None:
    """Along the legal transitions, as the orchestrator would."""
    if state is TaskState.WAITING:
        return
    if state is TaskState.SKIPPED:
        recorder.task(task.idx, TaskState.WAITING, state, ended=now_s + 60, reason="setup has failed")
        return
    way: list[tuple[TaskState, dict[str, Any]]] = [
        (TaskState.READY, {"attempt": 1}),
        (TaskState.ASSIGNED, {"dispatch": 1, "nonce": "n0nce", "worker": "w", "machine": "nas", "site": "x"}),
        (TaskState.RUNNING, {"started": now_s + 10}),
        (TaskState.DEFERRED, {"handle": '{"pid": 1}'}),
    ]
    last: dict[TaskState, dict[str, Any]] = {
        TaskState.SUCCEEDED: {"exit_code": 0, "outputs": '{"energy": "1"}', "ended": now_s + 20, "site": None},
        TaskState.FAILED: {
            "exit_code": 3, "failure_class": "user", "reason": "exit code 3", "user_failures": 1,
            "ended": now_s + 20, "site": None,
        },
        TaskState.CANCELLING: {},
        TaskState.CANCELLED: {"ended": now_s + 20, "reason": "cancelled by me"},
    }  # fmt: skip
    before = TaskState.WAITING
    for step, changes in way:
        recorder.task(task.idx, before, step, **changes)
        before = step
        if step is state:
            return
    if state is TaskState.CANCELLED:
        recorder.task(task.idx, before, TaskState.CANCELLING)
        before = TaskState.CANCELLING
    recorder.task(task.idx, before, state, **last[state])


def states_of(db: Database, seq: int) -> dict[str, str]:
    """The state of each task, by its name."""
    return {task.name: task.state for task in experiments.tasks(db, seq)}
