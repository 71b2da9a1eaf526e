"""Why tasks wait, as users see it: in `status`, and as a line of `run`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stored import NOW_S, open_database, put, template
from wlmctl.cli.progress_lines import IDLE_S, Lines
from wlmctl.cli.progress_picture import Picture
from wlmctl.states import TaskState
from wlmctl.store.database import Database
from wlmctl.store.listing import reasons_to_wait, told_machines
from wlmctl.store.record import Recorder


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path) as database:
        yield database


def say(db: Database, seq: int, reason: str, task: int = 0) -> None:
    with db.transaction():
        recorder = Recorder(db, seq, NOW_S)
        recorder.note("waiting", reason, task, tasks=2)
        recorder.flush()


def start(db: Database, seq: int, task: int) -> None:
    with db.transaction():
        recorder = Recorder(db, seq, NOW_S)
        recorder.task(task, TaskState.READY, TaskState.ASSIGNED, machine="m")
        recorder.flush()


def test_the_newest_reason_of_each_task_that_is_still_ready_is_shown(db: Database) -> None:
    seq = put(db, [template("a", count=2), template("b")], states={"a[1]": "ready", "a[2]": "ready", "b": "ready"})
    say(db, seq, "no room")
    say(db, seq, "no machine fits")
    say(db, seq, "no live worker can do it", 2)
    assert reasons_to_wait(db, seq) == [("a", "no machine fits"), ("b", "no live worker can do it")]


def test_a_task_that_has_started_since_has_no_reason_to_wait(db: Database) -> None:
    seq = put(db, [template("a"), template("b")], states={"a": "ready", "b": "ready"})
    say(db, seq, "no room")
    start(db, seq, 0)
    assert reasons_to_wait(db, seq) == []


def test_machines_are_told_to_be_held_by_name(db: Database) -> None:
    seq = put(db, [template("a")], states={"a": "ready"})
    with db.transaction():
        recorder = Recorder(db, seq, NOW_S)
        recorder.note("held", "no route", machine="nas")
        recorder.flush()
    assert told_machines(db, seq) == {"nas"}


def test_a_run_tells_the_reason_as_a_line_and_does_not_guess_another(db: Database) -> None:
    seq = put(db, [template("a", count=2)], states={"a[1]": "ready", "a[2]": "ready"})
    picture, lines, now = Picture(db, [seq]), list[str](), [0.0]
    display = Lines(picture, lines.append, lambda: now[0])
    say(db, seq, "no machine fits the role r: local has no label gpu")
    display.show(picture.read(always=True), (), {})
    now[0] = 2 * IDLE_S
    display.show((), (), {})
    assert [line.partition(" ")[2] for line in lines] == [
        "a[1]: waits: no machine fits the role r: local has no label gpu"
    ]
