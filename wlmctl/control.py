"""Steering an experiment: cancel, pause, resume, priority. Pure store transactions; whoever works on it sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from wlmctl.errors import NoSuch, UsageError
from wlmctl.states import EXPERIMENT_FINAL, ExperimentState, TaskState
from wlmctl.store import experiments
from wlmctl.store.database import Database
from wlmctl.store.record import Recorder
from wlmctl.store.rows import ExperimentRow
from wlmctl.task import FailureClass
from wlmctl.text import counted

_NOT_STARTED = frozenset({TaskState.WAITING, TaskState.READY})
_UNDER_WAY = frozenset({TaskState.ASSIGNED, TaskState.RUNNING, TaskState.DEFERRED})


@dataclass(frozen=True, slots=True)
class Change:
    """What a command did to one experiment: ``row`` is how it stands now; ``text`` says it for people."""

    row: ExperimentRow
    changed: bool
    text: str

    @property
    def is_final(self) -> bool:
        """True when the experiment has ended."""
        return ExperimentState(self.row.state) in EXPERIMENT_FINAL


@contextmanager
def changing(db: Database, seq: int, now_s: float) -> Iterator[tuple[ExperimentRow, Recorder]]:
    """One transaction that changes one experiment; whoever works on it reads it again afterwards."""
    with db.transaction():
        row = current(db, seq)
        recorder = Recorder(db, seq, now_s, gather=True)
        yield row, recorder
        recorder.flush(foreign=True)


def current(db: Database, seq: int) -> ExperimentRow:
    """The experiment as it stands; ``NoSuch`` when it has been forgotten meanwhile."""
    row = experiments.get(db, seq)
    if row is None:
        raise NoSuch("the experiment is not in the store any more")
    return row


def cancel(db: Database, seq: int, *, now_s: float, by: str) -> Change:
    """Cancel: what has not started is cancelled at once, what is under way is ``cancelling`` until proven gone."""
    reason = f"cancelled by {by}"
    with changing(db, seq, now_s) as (row, recorder):
        state = ExperimentState(row.state)
        if state in EXPERIMENT_FINAL or state is ExperimentState.CANCELLING:
            return Change(row, False, f"{row.id} is {state} already")
        for idx, was in experiments.tasks_in(db, seq, sorted(_NOT_STARTED | _UNDER_WAY)):
            if was in _NOT_STARTED:
                recorder.task(
                    idx, was, TaskState.CANCELLED, reason=reason, ended=now_s, due=None,
                    failure_class=FailureClass.CANCELLED.value,
                )  # fmt: skip
            else:
                recorder.task(idx, was, TaskState.CANCELLING)
        recorder.settle()
        left = experiments.counts(db, seq).get(TaskState.CANCELLING, 0)
        if left:
            recorder.experiment(state, ExperimentState.CANCELLING, reason=reason)
        else:
            recorder.experiment(state, ExperimentState.CANCELLED, reason=reason, ended=now_s)
    text = f"is cancelling: {counted(left, 'task')} to be stopped" if left else "is cancelled"
    return Change(current(db, seq), True, f"{row.id} {text}")


def pause(db: Database, seq: int, *, now_s: float, by: str) -> Change:
    """Start nothing new; what runs goes on."""
    with changing(db, seq, now_s) as (row, recorder):
        state = ExperimentState(row.state)
        if state not in (ExperimentState.RUNNING, ExperimentState.SCHEDULED):
            return Change(row, False, f"{row.id} is {state}: there is nothing to pause")
        recorder.experiment(state, ExperimentState.PAUSED, reason=f"paused by {by}")
    return Change(current(db, seq), True, f"{row.id} is paused")


def resume(db: Database, seq: int, *, now_s: float) -> Change:
    """End a pause; an experiment whose start is still to come waits for it again."""
    with changing(db, seq, now_s) as (row, recorder):
        if ExperimentState(row.state) is not ExperimentState.PAUSED:
            return Change(row, False, f"{row.id} is {row.state}, not paused")
        if row.started is None and row.start_due is not None and row.start_due > now_s:
            recorder.experiment(ExperimentState.PAUSED, ExperimentState.SCHEDULED, reason=None)
        elif row.started is None:
            recorder.experiment(ExperimentState.PAUSED, ExperimentState.RUNNING, reason=None, started=now_s)
        else:
            recorder.experiment(ExperimentState.PAUSED, ExperimentState.RUNNING, reason=None)
    now = current(db, seq)
    return Change(now, True, f"{now.id} is {now.state}")


def set_priority(db: Database, seq: int, priority: int, *, now_s: float) -> Change:
    """Change the priority (0-9); it counts from the next decision. ``UsageError`` for what has ended."""
    with changing(db, seq, now_s) as (row, recorder):
        if ExperimentState(row.state) in EXPERIMENT_FINAL:
            raise UsageError(f"{row.id} is {row.state}: its priority cannot change any more")
        if row.priority != priority:
            recorder.experiment_fields("priority", priority=priority)
    return Change(current(db, seq), row.priority != priority, f"{row.id} has priority {priority}")
