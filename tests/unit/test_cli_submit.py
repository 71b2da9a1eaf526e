"""``submit``: what it prints, what it stores, and the key that keeps it from happening twice."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from wlmctl.cli.main import cli
from wlmctl.errors import CommitInDoubt
from wlmctl.experiment.model import Experiment
from wlmctl.runtime.submit import start_due
from wlmctl.store import experiments, open_database
from wlmctl.store.database import Question
from wlmctl.store.leases import ORCHESTRATOR, take
from wlmctl.store.rows import ExperimentRow
from wlmctl.store.sqlite import SqliteDatabase

FILE = """\
name: pi
labels: [paper]
params: {n: 3, title: null}
tasks:
  work:
    type: job
    foreach: {i: 1..4}
    command: ["echo", "${n}", "${i}", "${title}"]
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pi.yaml").write_text(FILE)
    url = f"sqlite:///{tmp_path / 'wlmctl.db'}"
    monkeypatch.setenv("WLMCTL_STORE", url)
    return url


def submit(*args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["submit", *args], input=stdin)


def stored(url: str) -> list[ExperimentRow]:
    with open_database(url) as db:
        return experiments.select(db)


def test_submit_prints_the_id_and_nothing_else(store: str) -> None:
    result = submit("pi.yaml", "--param", "title=x")
    assert result.exit_code == 0, result.stderr
    assert re.fullmatch(r"pi-[a-z2-7]{6}\n", result.stdout)
    (row,) = stored(store)
    assert (row.id, row.state, row.origin, row.task_count) == (result.stdout.strip(), "running", "submit", 4)
    assert "no orchestrator is running" in result.stderr


def test_submit_says_nothing_while_an_orchestrator_is_live(store: str) -> None:
    with open_database(store) as db, db.transaction():
        take(db, ORCHESTRATOR, expect=None)
    assert submit("pi.yaml", "--param", "title=x").stderr == ""


def test_name_and_labels_can_be_given(store: str) -> None:
    assert submit("pi.yaml", "--param", "title=x", "--name", "tau", "--label", "b=1", "--label", "c").exit_code == 0
    (row,) = stored(store)
    assert (row.name, row.id[:4], row.label_list) == ("tau", "tau-", ["paper", "b=1", "c"])


def test_a_file_on_stdin(store: str) -> None:
    assert submit("-", "--param", "title=x", stdin=FILE).exit_code == 0
    assert [row.name for row in stored(store)] == ["pi"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--param", "title"], "expected NAME=VALUE"),
        (["--param", "title=1", "--param", "title=2"], "given twice"),
        (["--param", "title=1", "--param", "nope=2"], "nope"),
        ([], "title"),
        (["--param", "title=1", "--local-on", " "], "--local-on: an empty text"),
        (["--param", "title=1", "--key", " "], "an empty text"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_stored(store: str, args: list[str], said: str) -> None:
    result = submit("pi.yaml", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("wlmctl.db").exists()


def test_a_params_file_is_one_experiment_a_row_in_one_transaction(store: str) -> None:
    Path("params.csv").write_text('n,title\n1,"a, b"\n2,c\n')
    result = submit("pi.yaml", "--params-file", "params.csv")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.split() == [row.id for row in reversed(stored(store))]
    with open_database(store) as db:
        params = [experiments.document(db, row.seq)["params"] for row in reversed(stored(store))]
    assert params == [{"n": "1", "title": "a, b"}, {"n": "2", "title": "c"}]


def test_a_params_file_with_a_bad_row_submits_none_and_names_the_row(store: str) -> None:
    Path("params.csv").write_text("n,nope\n1,a\n")
    result = submit("pi.yaml", "--params-file", "params.csv", "--param", "title=x")
    assert result.exit_code == 2
    assert "row 1 of params.csv" in result.stderr
    assert not Path("wlmctl.db").exists()


def test_a_column_may_not_be_given_as_param_too(store: str) -> None:
    Path("params.csv").write_text("title\na\n")
    result = submit("pi.yaml", "--params-file", "params.csv", "--param", "title=x")
    assert (result.exit_code, "params.csv has a column of that name too" in result.stderr) == (2, True)


def test_the_same_key_and_content_again_prints_the_same_id(store: str) -> None:
    first = submit("pi.yaml", "--param", "title=x", "--key", "k1")
    again = submit("pi.yaml", "--param", "title=x", "--key", "k1")
    assert (again.exit_code, again.stdout) == (0, first.stdout)
    assert len(stored(store)) == 1


@pytest.mark.parametrize("args", [["--param", "title=y"], ["--param", "title=x", "--label", "more"]])
def test_the_same_key_with_other_content_is_refused(store: str, args: list[str]) -> None:
    submit("pi.yaml", "--param", "title=x", "--key", "k1")
    result = submit("pi.yaml", *args, "--key", "k1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "was used before, with other content" in result.stderr
    assert len(stored(store)) == 1


def test_a_key_covers_all_rows_of_a_params_file(store: str) -> None:
    def rows(*values: str) -> Result:
        Path("params.csv").write_text("title\n" + "".join(f"{value}\n" for value in values))
        return submit("pi.yaml", "--params-file", "params.csv", "--key", "k1")

    first = rows("a", "b")
    assert rows("a", "b").stdout == first.stdout
    for other in (["a"], ["a", "b", "c"], ["b", "a"]):
        assert rows(*other).exit_code == 2
    assert len(stored(store)) == 2


def test_a_submit_of_which_nobody_knows_whether_it_was_stored_does_not_say_that_nothing_was(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Doubtful(SqliteDatabase):
        @contextmanager
        def transaction(self, ahead: Sequence[Question] = ()) -> Iterator[None]:
            with super().transaction(ahead):
                yield
            raise CommitInDoubt("store x: the connection was lost; whether the last change was stored is not known")

    with open_database(store):
        monkeypatch.setattr("wlmctl.store.sqlite.SqliteDatabase", Doubtful)
        result = submit("pi.yaml", "--param", "title=x")
    assert result.exit_code == 4
    assert "nothing was submitted" not in result.stderr
    assert "is not known: wlmctl status shows what is there" in result.stderr
    monkeypatch.undo()
    assert len(stored(store)) == 1


def test_the_start_counts_from_the_submit(store: str) -> None:
    Path("pi.yaml").write_text(FILE + "start: +2h\n")
    before = time.time()
    assert submit("pi.yaml", "--param", "title=x").exit_code == 0
    (row,) = stored(store)
    assert row.state == "scheduled"
    assert row.start_due is not None
    assert before + 7200 <= row.start_due <= time.time() + 7200


def test_a_start_in_the_past_is_now() -> None:
    assert start_due(Experiment("pi", (), start="2020-01-01T00:00:00Z"), 1.7e9) is None
    assert start_due(Experiment("pi", (), start="2030-01-01T01:00:00+01:00"), 1.7e9) == 1893456000.0


def test_json_has_the_ids(store: str) -> None:
    result = submit("pi.yaml", "--param", "title=x", "-o", "json")
    assert json.loads(result.stdout) == {"version": 1, "experiments": [{"id": stored(store)[0].id}]}
