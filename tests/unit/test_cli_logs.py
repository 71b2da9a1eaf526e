"""``logs``: tails from the store, one stream as it is, and new output as it comes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.stored import NOW_S, open_database, put, template
from tests.waiting import wait_until
from wlmctl.cli.log_follow import Shown
from wlmctl.cli.main import cli
from wlmctl.states import ExperimentState, TaskState
from wlmctl.store import logs
from wlmctl.store.database import Database
from wlmctl.store.record import Recorder


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    with open_database(tmp_path) as database:
        monkeypatch.setenv("WLMCTL_STORE", database.url)
        yield database


def call(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


def printed(db: Database, seq: int, task: int, stdout: bytes, stderr: bytes = b"", attempt: int = 1) -> None:
    with db.transaction():
        logs.put(db, seq, task, attempt, stdout, stderr)


def test_one_stream_of_one_task_comes_as_it_is(db: Database) -> None:
    seq = put(db, [template("sim", count=2)], states={"sim[1]": "succeeded"})
    printed(db, seq, 0, b"1\xff\n2", b"warning\n")
    result = call("logs", "pi", "sim[1]", "--stdout")
    assert result.stdout_bytes == b"1\xff\n2"
    assert call("logs", "pi", "sim:1", "--stderr").stdout_bytes == b"warning\n"


def test_several_streams_have_a_line_above_each(db: Database) -> None:
    seq = put(db, [template("a"), template("b")], states={"a": "succeeded", "b": "failed"})
    printed(db, seq, 0, b"one\n")
    printed(db, seq, 1, b"two", b"no such file\n")
    assert call("logs", "pi").stdout.splitlines() == [
        "==> a, attempt 1, stdout <==", "one", "",
        "==> b, attempt 1, stdout <==", "two", "",
        "==> b, attempt 1, stderr <==", "no such file",
    ]  # fmt: skip


def test_the_newest_attempt_that_printed_is_shown_unless_another_is_asked_for(db: Database) -> None:
    seq = put(db, [template("a")], states={"a": "running"})
    printed(db, seq, 0, b"first\n", attempt=1)
    printed(db, seq, 0, b"second\n", attempt=2)
    assert call("logs", "pi", "a", "--stdout").stdout == "second\n"
    assert call("logs", "pi", "a", "--stdout", "--attempt", "1").stdout == "first\n"


def test_nothing_printed_is_a_note(db: Database) -> None:
    put(db, [template("a")])
    result = call("logs", "pi", "a")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing was printed" in result.stderr


def test_an_unknown_task_is_code_3(db: Database) -> None:
    put(db, [template("a")])
    assert call("logs", "pi", "b").exit_code == 3


def test_json_has_bytes_that_are_no_text_as_base64(db: Database) -> None:
    seq = put(db, [template("a")])
    printed(db, seq, 0, b"\xff", "prüfung\n".encode())
    told = json.loads(call("logs", "pi", "-o", "json").stdout)
    assert told == {
        "version": 1,
        "logs": [
            {"task": "a", "attempt": 1, "stream": "stdout", "text": {"b64": "/w=="}},
            {"task": "a", "attempt": 1, "stream": "stderr", "text": "prüfung\n"},
        ],
    }


def test_following_does_not_go_with_a_whole_log_or_an_old_attempt(db: Database) -> None:
    put(db, [template("a")])
    assert call("logs", "pi", "-f", "--full").exit_code == 2
    assert call("logs", "pi", "-f", "--attempt", "1").exit_code == 2


def test_too_many_tasks_cannot_be_followed_at_once(db: Database) -> None:
    put(db, [template("sim", count=51)])
    result = call("logs", "pi", "-f")
    assert result.exit_code == 2
    assert "at most 50 can be followed" in result.stderr


def test_following_shows_new_output_once_and_the_rest_at_the_end(db: Database) -> None:
    seq = put(db, [template("a")], states={"a": "deferred"})
    results = list[Result]()
    following = threading.Thread(target=lambda: results.append(call("logs", "pi", "a", "-f", "--stdout")))
    following.start()
    with open_database(Path(db.name).parent) as other:
        wait_until(lambda: logs.followed(other, 0.0), "somebody asks for the new output")
        for start, content in ((0, b"one\n"), (4, b"two\n")):
            with other.transaction():
                logs.add_live(other, seq, 0, 1, "stdout", start, content)
        with other.transaction():
            recorder = Recorder(other, seq, NOW_S)
            recorder.task(0, TaskState.DEFERRED, TaskState.SUCCEEDED, ended=NOW_S)
            recorder.experiment(ExperimentState.RUNNING, ExperimentState.SUCCEEDED, ended=NOW_S)
            recorder.flush()
            logs.put(other, seq, 0, 1, b"one\ntwo\nthree\n", b"")
            logs.drop_live(other, seq, 0)
    following.join(60)
    assert results[0].exit_code == 0
    assert results[0].stdout == "one\ntwo\nthree\n"


def test_a_full_tail_is_joined_where_what_was_shown_ends() -> None:
    shown = Shown(1)
    whole = b"".join(b"line %d\n" % number for number in range(20_000))
    assert shown.new(0, whole[:160_000]) == whole[:160_000]
    assert shown.rest(whole[-logs.TAIL_BYTES :], logs.TAIL_BYTES) == whole[160_000:]


def test_a_tail_that_begins_behind_what_was_shown_is_shown_whole() -> None:
    shown = Shown(1)
    shown.new(0, b"begin")
    tail = b"x" * logs.TAIL_BYTES
    assert shown.rest(tail, logs.TAIL_BYTES) == tail


def test_a_piece_that_comes_twice_is_shown_once() -> None:
    shown = Shown(1)
    assert shown.new(0, b"abc") == b"abc"
    assert shown.new(0, b"abc") == b""
    assert shown.new(2, b"cde") == b"de"


def test_the_whole_log_is_read_from_the_machine(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seq = put(db, [template("a")])
    identifier = db.row("SELECT id FROM experiments WHERE seq = ?", (seq,))[0]
    scratch = tmp_path / "scratch"
    folder = scratch / identifier / ".wlmctl" / "a" / "1"
    folder.mkdir(parents=True)
    content = b"x" * (2 * logs.TAIL_BYTES) + b"\xff\n"
    (folder / "stdout").write_bytes(content)
    (tmp_path / "wlmctl.toml").write_text(f'[machines.local]\nscratch = "{scratch}"\n')
    monkeypatch.chdir(tmp_path)
    assert "has not been on a machine yet" in call("logs", "pi", "a", "--full").stderr
    db.execute("UPDATE tasks SET machine = 'local' WHERE exp = ?", (seq,))
    result = call("logs", "pi", "a", "--full", "--stdout")
    assert (result.exit_code, result.stdout_bytes) == (0, content)
    result = call("logs", "pi", "a", "--full", "--attempt", "2")
    assert result.exit_code == 3
    assert "attempt 2" in result.stderr
