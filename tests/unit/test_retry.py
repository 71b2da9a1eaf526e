"""A user's retry: which tasks get a new attempt, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

import pytest

from tests.stored import NOW_S, open_database, put, states_of, template
from wlmctl import control
from wlmctl import retry as module
from wlmctl.errors import UsageError
from wlmctl.experiment.model import Experiment, Need, Template
from wlmctl.retry import behind, retry
from wlmctl.store import experiments
from wlmctl.store.database import Database
from wlmctl.store.events import events, fold
from wlmctl.store.rows import TaskRow

LATER_S = NOW_S + 100
CHAIN = [template("setup"), template("work", needs=["setup"]), template("collect", needs=["work"]), template("other")]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path) as database:
        yield database


def again(
    db: Database, seq: int, tasks: Sequence[int] = (), redo: Sequence[int] = (), text: Experiment | None = None
) -> control.Change:
    return retry(db, seq, now_s=LATER_S, by="eve", tasks=tasks, redo=redo, text=text)


def test_failed_cancelled_and_skipped_tasks_wait_again_and_succeeded_ones_stay(db: Database) -> None:
    states = {"setup": "succeeded", "work": "failed", "collect": "skipped", "other": "cancelled"}
    seq = put(db, CHAIN, states=states, state="failed")
    change = again(db, seq)
    assert (change.row.state, change.row.ended) == ("running", None)
    assert states_of(db, seq) == {"setup": "succeeded", "work": "waiting", "collect": "waiting", "other": "waiting"}


def test_the_next_attempt_has_a_number_of_its_own_and_nothing_of_the_last_one(db: Database) -> None:
    seq = put(db, CHAIN, states={"work": "failed", "collect": "skipped"}, state="failed")
    again(db, seq)
    work, collect = experiments.task(db, seq, 1), experiments.task(db, seq, 2)
    assert work.attempt == 2
    assert collect.attempt == 0, "it was never dispatched"
    left = [getattr(work, name) for name in ("exit_code", "failure_class", "reason", "handle", "machine", "outputs")]
    assert left == [None] * 6
    assert (work.user_failures, work.infra_failures, work.started, work.ended) == (0, 0, None, None)
    assert work.dispatch == 1, "dispatches are numbered on"


def test_the_events_of_a_retry_fold_to_the_stored_state(db: Database) -> None:
    seq = put(db, CHAIN, states={"work": "failed", "collect": "skipped"}, state="failed")
    row = again(db, seq).row
    folded = fold(events(db, seq))
    assert folded.state == row.state
    for idx, told in folded.tasks.items():
        task = experiments.task(db, seq, idx)
        assert {name: getattr(task, name) for name in told} == told


def test_naming_a_task_retries_it_and_what_was_skipped_for_it_only(db: Database) -> None:
    seq = put(db, CHAIN, states={"work": "failed", "collect": "skipped", "other": "failed"}, state="failed")
    again(db, seq, tasks=[1])
    assert states_of(db, seq) == {"setup": "waiting", "work": "waiting", "collect": "waiting", "other": "failed"}


def test_naming_a_succeeded_task_says_how_to_do_it_again(db: Database) -> None:
    seq = put(db, CHAIN, states={"setup": "succeeded", "work": "failed"}, state="failed")
    with pytest.raises(UsageError, match="task setup is succeeded: --from setup does it again, with all behind it"):
        again(db, seq, tasks=[0])
    assert states_of(db, seq)["setup"] == "succeeded"


def test_from_redoes_a_succeeded_task_and_all_behind_it(db: Database) -> None:
    seq = put(db, CHAIN, states=dict.fromkeys(("setup", "work", "collect", "other"), "succeeded"), state="succeeded")
    again(db, seq, redo=[1])
    assert states_of(db, seq) == {"setup": "succeeded", "work": "waiting", "collect": "waiting", "other": "succeeded"}


def test_from_is_refused_while_something_behind_is_under_way(db: Database) -> None:
    seq = put(db, CHAIN, states={"setup": "succeeded", "work": "succeeded", "collect": "running"})
    with pytest.raises(UsageError, match="task collect is running: wait for its end"):
        again(db, seq, redo=[0])


def test_nothing_to_retry_leaves_the_experiment_as_it_is(db: Database) -> None:
    seq = put(db, [template("a")], states={"a": "succeeded"}, state="succeeded")
    change = again(db, seq)
    assert not change.changed
    assert change.row.state == "succeeded"


def test_an_experiment_that_is_cancelling_is_not_retried(db: Database) -> None:
    seq = put(db, [template("a")], states={"a": "running"})
    control.cancel(db, seq, now_s=LATER_S, by="eve")
    with pytest.raises(UsageError, match="still cancelling"):
        again(db, seq)


def test_a_paused_experiment_stays_paused(db: Database) -> None:
    seq = put(db, CHAIN, states={"work": "failed"}, state="paused")
    assert again(db, seq).row.state == "paused"
    assert states_of(db, seq)["work"] == "waiting"


@pytest.mark.parametrize(
    ("needs", "start", "expected"),
    [
        (Need("sim"), [1], {3, 4, 5}),
        (Need("sim", which="same"), [1], {4}),
        (Need("sim", which=2), [1], set()),
        (Need("sim", which=2), [2], {3, 4, 5}),
    ],
)
def test_what_is_behind_follows_each_kind_of_edge(needs: Need, start: list[int], expected: set[int]) -> None:
    templates = [template("sim", count=3), template("post", count=3, needs=[needs])]
    assert behind(templates, start) == expected


def test_what_is_behind_goes_through_others() -> None:
    templates = [*CHAIN, template("last", needs=["collect", "other"])]
    assert behind(templates, [0]) == {1, 2, 4}


def test_with_replaces_texts_and_files_and_keeps_name_priority_and_folder(db: Database) -> None:
    seq = put(db, CHAIN, states={"work": "failed"}, state="failed", labels=["paper"])
    new = [replace(each, text={"command": "better"}) for each in CHAIN]
    again(db, seq, text=Experiment("other-name", tuple(new), files={"run.sh": b"x"}, folder="/elsewhere"))
    from wlmctl.experiment import from_document

    stored = from_document(experiments.document(db, seq))
    assert stored.templates[1].text == {"command": "better"}
    assert (stored.name, stored.labels, stored.folder) == ("pi", ("paper",), "/data/pi")
    assert experiments.files(db, seq) == {"run.sh": b"x"}


def _renamed(each: Template) -> Template:
    return replace(each, name="x") if each.name == "other" else each


def _other_needs(each: Template) -> Template:
    return replace(each, needs=()) if each.name == "collect" else each


def _other_rows(each: Template) -> Template:
    return replace(each, keys=("i",), rows=(("1",), ("2",))) if each.name == "other" else each


def _other_type(each: Template) -> Template:
    return replace(each, type="stage") if each.name == "other" else each


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_renamed, "the tasks must stay"),
        (_other_needs, "the needs of task collect"),
        (_other_rows, "the foreach of task other"),
        (_other_type, "the type of task other"),
    ],
)
def test_with_a_file_of_another_graph_is_refused_and_changes_nothing(
    db: Database, change: Callable[[Template], Template], said: str
) -> None:
    seq = put(db, CHAIN, states={"work": "failed"}, state="failed")
    with pytest.raises(UsageError, match=said):
        again(db, seq, text=Experiment("pi", tuple(map(change, CHAIN))))
    assert states_of(db, seq)["work"] == "failed"


def test_everything_that_is_reset_is_a_column_of_the_task() -> None:
    assert {field.name for field in fields(TaskRow)} >= set(module._FRESH)
