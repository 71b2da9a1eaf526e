"""Cancel, pause, resume and priority, as they change the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.stored import NOW_S, open_database, put, states_of, template
from wlmctl import control
from wlmctl.errors import NoSuch, UsageError
from wlmctl.store import experiments
from wlmctl.store.database import Database
from wlmctl.store.events import events, fold
from wlmctl.store.rows import TASK_FIELDS

LATER_S = NOW_S + 100


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path) as database:
        yield database


def cancel(db: Database, seq: int) -> control.Change:
    return control.cancel(db, seq, now_s=LATER_S, by="eve")


def assert_events_tell_the_state(db: Database, seq: int) -> None:
    folded, row = fold(events(db, seq)), experiments.get(db, seq)
    assert row is not None
    assert folded.state == row.state
    assert all(asdict(row)[name] == value for name, value in folded.fields.items())
    for task in experiments.tasks(db, seq):
        if task.idx in folded.tasks:
            told = folded.tasks[task.idx]
            assert {name: getattr(task, name) for name in TASK_FIELDS if name in told} == told


def test_a_cancel_ends_what_has_not_started_and_leaves_the_rest_cancelling_until_proven(db: Database) -> None:
    states = {"a": "succeeded", "b": "running", "c": "deferred", "d": "ready", "f": "assigned"}
    seq = put(db, [template(name) for name in "abcdef"], states=states)
    change = cancel(db, seq)
    assert change.changed
    assert change.row.state == "cancelling"
    assert states_of(db, seq) == {
        "a": "succeeded", "b": "cancelling", "c": "cancelling", "d": "cancelled", "e": "cancelled", "f": "cancelling",
    }  # fmt: skip
    assert_events_tell_the_state(db, seq)


def test_a_cancel_of_what_has_nothing_under_way_ends_it_at_once_with_who_did_it(db: Database) -> None:
    seq = put(db, [template("a"), template("b")], states={"a": "succeeded"})
    change = cancel(db, seq)
    assert (change.row.state, change.row.ended, change.row.reason) == ("cancelled", LATER_S, "cancelled by eve")
    task = experiments.task(db, seq, 1)
    assert (task.state, task.ended, task.reason, task.failure_class) == (
        "cancelled", LATER_S, "cancelled by eve", "cancelled",
    )  # fmt: skip
    assert_events_tell_the_state(db, seq)


def test_a_second_cancel_changes_nothing(db: Database) -> None:
    seq = put(db, [template("a")], states={"a": "running"})
    cancel(db, seq)
    count = len(list(events(db, seq)))
    assert not cancel(db, seq).changed
    assert len(list(events(db, seq))) == count


@pytest.mark.parametrize("state", ["scheduled", "paused"])
def test_what_has_not_begun_can_be_cancelled_too(db: Database, state: str) -> None:
    seq = put(db, [template("a")], state=state, start_due_s=NOW_S + 3600)
    assert cancel(db, seq).row.state == "cancelled"


def test_a_cancel_tells_the_process_that_works_on_it_to_read_it_again(db: Database) -> None:
    seq = put(db, [template("a")], states={"a": "running"})
    before = control.current(db, seq).revision
    assert cancel(db, seq).row.revision > before


def test_a_pause_stops_no_task_and_a_resume_brings_the_state_back(db: Database) -> None:
    seq = put(db, [template("a"), template("b")], states={"a": "running"})
    paused = control.pause(db, seq, now_s=LATER_S, by="eve")
    assert (paused.row.state, paused.row.reason) == ("paused", "paused by eve")
    assert states_of(db, seq) == {"a": "running", "b": "waiting"}
    resumed = control.resume(db, seq, now_s=LATER_S)
    assert (resumed.row.state, resumed.row.reason) == ("running", None)
    assert_events_tell_the_state(db, seq)


def test_a_resume_before_the_start_waits_for_it_again_and_one_after_it_starts_now(db: Database) -> None:
    early = put(db, [template("a")], start_due_s=LATER_S + 1, state="paused")
    late = put(db, [template("a")], start_due_s=LATER_S - 1, state="paused")
    assert control.resume(db, early, now_s=LATER_S).row.state == "scheduled"
    row = control.resume(db, late, now_s=LATER_S).row
    assert (row.state, row.started) == ("running", LATER_S)


def test_pausing_what_is_paused_or_has_ended_changes_nothing(db: Database) -> None:
    for state in ("paused", "succeeded"):
        seq = put(db, [template("a")], state=state)
        assert not control.pause(db, seq, now_s=LATER_S, by="eve").changed
        assert control.current(db, seq).state == state


def test_a_priority_is_stored_with_an_event(db: Database) -> None:
    seq = put(db, [template("a")])
    assert control.set_priority(db, seq, 9, now_s=LATER_S).row.priority == 9
    assert_events_tell_the_state(db, seq)
    assert [event.kind for event in events(db, seq)][-1] == "priority"


def test_the_priority_of_what_has_ended_is_refused(db: Database) -> None:
    seq = put(db, [template("a")], state="failed")
    with pytest.raises(UsageError, match="is failed: its priority cannot change any more"):
        control.set_priority(db, seq, 9, now_s=LATER_S)


def test_an_experiment_that_was_forgotten_meanwhile_is_not_there(db: Database) -> None:
    with pytest.raises(NoSuch):
        cancel(db, 77)
