"""``cancel``, ``pause``, ``resume``, ``retry`` and ``priority``: what they say, and who is left to do it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tests.stored import NOW_S, open_database, put, states_of, template
from wlmctl import control
from wlmctl.cli.main import cli
from wlmctl.cli.stopping import Stopping
from wlmctl.cli.waiting import warn_when_nobody_works
from wlmctl.store import experiments
from wlmctl.store.database import Database
from wlmctl.store.leases import Lease, check, experiment_lease, take


class Foreground:
    """Stands for the work in the foreground: notes what it was given, and ends the experiments as it is told."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.worked = list[int]()
        self.code = 0

    def __call__(self, _: click.Context, leases: Mapping[int, Lease], output: str, stopping: Stopping) -> int:
        for seq, lease in leases.items():
            check(self.db, lease)
            self.worked.append(seq)
        return self.code


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    with open_database(tmp_path) as database:
        monkeypatch.setenv("WLMCTL_STORE", database.url)
        yield database


@pytest.fixture
def foreground(db: Database, monkeypatch: pytest.MonkeyPatch) -> Foreground:
    import wlmctl.cli.run

    work = Foreground(db)
    monkeypatch.setattr(wlmctl.cli.run, "work_in_foreground", work)
    return work


def call(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


def id_of(db: Database, seq: int) -> str:
    return control.current(db, seq).id


def test_cancel_records_the_intent_and_says_so_on_stderr(db: Database) -> None:
    seq = put(db, [template("a"), template("b")], states={"a": "running"})
    result = call("cancel", id_of(db, seq))
    assert (result.exit_code, result.stdout) == (0, "")
    assert "is cancelling: 1 task to be stopped" in result.stderr
    assert states_of(db, seq) == {"a": "cancelling", "b": "cancelled"}


def test_cancel_of_an_interrupted_run_works_it_here_until_its_jobs_are_gone(
    db: Database, foreground: Foreground
) -> None:
    seq = put(db, [template("a")], states={"a": "deferred"}, origin="run")
    foreground.code = 5
    assert call("cancel", id_of(db, seq)).exit_code == 0
    assert foreground.worked == [seq]


def test_cancel_leaves_an_experiment_to_the_run_that_holds_it(db: Database, foreground: Foreground) -> None:
    seq = put(db, [template("a")], states={"a": "deferred"}, origin="run")
    with db.transaction():
        take(db, experiment_lease(seq), expect=None)
    assert call("cancel", id_of(db, seq)).exit_code == 0
    assert foreground.worked == []
    assert control.current(db, seq).state == "cancelling"


@pytest.mark.parametrize("command", ["cancel", "resume", "retry"])
def test_no_run_only_records(db: Database, foreground: Foreground, command: str) -> None:
    states = {"a": "failed", "b": "running"}
    seq = put(db, [template("a"), template("b")], states=states, origin="run")
    call(command, id_of(db, seq), "--no-run")
    assert foreground.worked == []


def test_cancel_of_what_has_nothing_under_way_needs_nobody(db: Database, foreground: Foreground) -> None:
    seq = put(db, [template("a")], origin="run")
    assert call("cancel", id_of(db, seq), "--wait").exit_code == 0
    assert foreground.worked == []
    assert control.current(db, seq).state == "cancelled"


def test_an_experiment_that_its_process_has_just_ended_lacks_nobody(
    db: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    seqs = [put(db, [template("a")], states={"a": "running"}, origin="run", name=name) for name in ("over", "left")]
    read_before = [control.current(db, seq) for seq in seqs]
    db.execute("UPDATE experiments SET state = 'cancelled' WHERE seq = ?", (seqs[0],))
    warn_when_nobody_works(db, read_before)
    left = read_before[1].id
    assert capsys.readouterr().err == f"wlmctl: no process works on {left}: wlmctl resume {left} goes on\n"


def test_resume_goes_on_with_an_interrupted_run_and_ends_as_run_does(db: Database, foreground: Foreground) -> None:
    seq = put(db, [template("a")], origin="run")
    foreground.code = 1
    assert call("resume", id_of(db, seq)).exit_code == 1
    assert foreground.worked == [seq]


def test_resume_of_several_takes_all_their_leases(db: Database, foreground: Foreground) -> None:
    seqs = [put(db, [template("a")], origin="run", state=state) for state in ("running", "paused")]
    assert call("resume", *(id_of(db, seq) for seq in seqs)).exit_code == 0
    assert foreground.worked == seqs
    assert [control.current(db, seq).state for seq in seqs] == ["running", "running"]


def test_resume_of_a_submitted_experiment_only_clears_the_pause(db: Database, foreground: Foreground) -> None:
    seq = put(db, [template("a")], state="paused")
    result = call("resume", id_of(db, seq))
    assert result.exit_code == 0
    assert foreground.worked == []
    assert control.current(db, seq).state == "running"
    assert "no orchestrator is running" in result.stderr


def test_resume_of_what_has_ended_ends_as_it_did(db: Database, foreground: Foreground) -> None:
    seq = put(db, [template("a")], states={"a": "failed"}, state="failed", origin="run")
    assert call("resume", id_of(db, seq)).exit_code == 1
    assert foreground.worked == []


def test_resume_waits_for_a_live_holder_and_says_who_it_is(
    db: Database, foreground: Foreground, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wlmctl.store.leases

    seq = put(db, [template("a")], origin="run")
    with db.transaction():
        take(db, experiment_lease(seq), expect=None)
    monkeypatch.setattr(wlmctl.store.leases, "TERM_S", 0.2)
    result = call("resume", id_of(db, seq))
    assert result.exit_code == 0
    assert "is held by process" in result.stderr
    assert foreground.worked == [seq]


def test_pause_and_resume_tell_what_they_did_as_json(db: Database) -> None:
    seq = put(db, [template("a")])
    result = call("pause", id_of(db, seq), "-o", "json")
    told = json.loads(result.stdout)
    assert told["version"] == 1
    assert [(each["id"], each["state"], each["changed"]) for each in told["experiments"]] == [
        (id_of(db, seq), "paused", True)
    ]


def test_retry_takes_tasks_of_the_first_experiment_or_more_ids(db: Database) -> None:
    one = put(db, [template("sim", count=2)], states={"sim[1]": "failed", "sim[2]": "failed"}, state="failed")
    two = put(db, [template("b")], states={"b": "failed"}, state="failed", name="two")
    assert call("retry", id_of(db, one), "sim:2").exit_code == 0
    assert states_of(db, one) == {"sim[1]": "failed", "sim[2]": "waiting"}
    assert call("retry", id_of(db, one), id_of(db, two)).exit_code == 0
    assert states_of(db, one)["sim[1]"] == "waiting"
    assert states_of(db, two) == {"b": "waiting"}


def test_retry_of_an_unknown_task_names_it_and_changes_nothing(db: Database) -> None:
    seq = put(db, [template("a")], states={"a": "failed"}, state="failed")
    result = call("retry", id_of(db, seq), "b")
    assert result.exit_code == 3
    assert "has no task 'b'" in result.stderr
    assert states_of(db, seq) == {"a": "failed"}


def test_retry_from_redoes_what_is_behind(db: Database) -> None:
    states = {"a": "succeeded", "b": "succeeded"}
    seq = put(db, [template("a"), template("b", needs=["a"])], states=states, state="succeeded")
    assert call("retry", id_of(db, seq), "--from", "a").exit_code == 0
    assert states_of(db, seq) == {"a": "waiting", "b": "waiting"}
    assert [task.attempt for task in experiments.tasks(db, seq)] == [2, 2]


def test_retry_with_a_file_takes_its_text_and_keeps_the_parameters_of_the_submit(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "name: pi\nparams: {n: 3, title: null}\ntasks: {a: {type: job, command: 'echo ${n} ${title}'}}\n"
    (tmp_path / "pi.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    identifier = call("submit", "pi.yaml", "--param", "title=T").stdout.strip()
    call("cancel", identifier)
    (tmp_path / "pi.yaml").write_text(text.replace("n: 3", "n: 4"))
    assert call("retry", identifier, "--with", "pi.yaml").exit_code == 0
    stored = experiments.document(db, experiments.find(db, identifier).seq)
    assert stored["params"] == {"n": "4", "title": "T"}
    assert states_of(db, experiments.find(db, identifier).seq) == {"a": "waiting"}


def test_retry_with_a_file_of_other_tasks_is_refused_in_one_line(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pi.yaml").write_text("name: pi\ntasks: {other: {type: job, command: 'true'}}\n")
    monkeypatch.chdir(tmp_path)
    seq = put(db, [template("a")], states={"a": "failed"}, state="failed")
    result = call("retry", id_of(db, seq), "--with", "pi.yaml")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "the tasks must stay a" in result.stderr
    assert states_of(db, seq) == {"a": "failed"}


def test_from_and_with_are_for_one_experiment(db: Database) -> None:
    ids = [id_of(db, put(db, [template("a")])) for _ in range(2)]
    assert call("retry", *ids, "--from", "a").exit_code == 2


@pytest.mark.parametrize(("level", "number"), [("low", 2), ("urgent", 8), ("0", 0), ("9", 9)])
def test_a_priority_is_a_word_or_a_digit(db: Database, level: str, number: int) -> None:
    seq = put(db, [template("a")])
    assert call("priority", id_of(db, seq), level).exit_code == 0
    assert control.current(db, seq).priority == number
    assert call("events", id_of(db, seq)).stdout.endswith(f"priority  ({number})\n")


@pytest.mark.parametrize("level", ["10", "-1", "highest", "²"])
def test_another_priority_is_refused_in_one_line(db: Database, level: str) -> None:
    seq = put(db, [template("a")], now_s=NOW_S)
    result = call("priority", id_of(db, seq), "--", level)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
