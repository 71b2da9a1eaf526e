"""The states of tasks and experiments, and the legal transitions between them: nothing else changes a state."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class TaskState(StrEnum):
    """Where a task stands (DESIGN: states of a task)."""

    WAITING = "waiting"
    READY = "ready"
    ASSIGNED = "assigned"
    RUNNING = "running"
    DEFERRED = "deferred"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class ExperimentState(StrEnum):
    """Where an experiment stands."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED})
EXPERIMENT_FINAL = frozenset({ExperimentState.SUCCEEDED, ExperimentState.FAILED, ExperimentState.CANCELLED})

_T, _E = TaskState, ExperimentState

#: The legal transitions of a task. ``* -> waiting`` out of a final state is a user's retry only.
TASK_TRANSITIONS: Mapping[TaskState, frozenset[TaskState]] = {
    _T.WAITING: frozenset({_T.READY, _T.CANCELLED, _T.SKIPPED, _T.FAILED, _T.CANCELLING}),
    _T.READY: frozenset({_T.ASSIGNED, _T.WAITING, _T.CANCELLED, _T.SKIPPED, _T.FAILED, _T.CANCELLING}),
    _T.ASSIGNED: frozenset({_T.RUNNING, _T.DEFERRED, _T.READY, _T.WAITING, _T.SUCCEEDED, _T.FAILED, _T.CANCELLING}),
    _T.RUNNING: frozenset({_T.DEFERRED, _T.READY, _T.WAITING, _T.SUCCEEDED, _T.FAILED, _T.CANCELLING}),
    _T.DEFERRED: frozenset({_T.READY, _T.WAITING, _T.SUCCEEDED, _T.FAILED, _T.CANCELLING}),
    _T.CANCELLING: frozenset({_T.CANCELLED, _T.SUCCEEDED, _T.FAILED}),
    _T.SUCCEEDED: frozenset({_T.WAITING}),
    _T.FAILED: frozenset({_T.WAITING}),
    _T.CANCELLED: frozenset({_T.WAITING}),
    _T.SKIPPED: frozenset({_T.WAITING}),
}

#: The legal transitions of an experiment. ``* -> running`` out of a final state is a user's retry only.
EXPERIMENT_TRANSITIONS: Mapping[ExperimentState, frozenset[ExperimentState]] = {
    _E.SCHEDULED: frozenset({_E.RUNNING, _E.PAUSED, _E.CANCELLED, _E.CANCELLING}),
    _E.RUNNING: frozenset({_E.PAUSED, _E.CANCELLING, _E.SUCCEEDED, _E.FAILED, _E.CANCELLED}),
    _E.PAUSED: frozenset({_E.RUNNING, _E.SCHEDULED, _E.CANCELLING, _E.SUCCEEDED, _E.FAILED, _E.CANCELLED}),
    _E.CANCELLING: frozenset({_E.CANCELLED, _E.SUCCEEDED, _E.FAILED}),
    _E.SUCCEEDED: frozenset({_E.RUNNING}),
    _E.FAILED: frozenset({_E.RUNNING}),
    _E.CANCELLED: frozenset({_E.RUNNING}),
}
