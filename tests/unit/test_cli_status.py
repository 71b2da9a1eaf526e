"""``status``, ``wait``, ``events`` and the ways to say which experiments are meant."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.stored import NOW_S, open_database, put, template
from wlmctl import control
from wlmctl.cli.main import cli
from wlmctl.store import experiments
from wlmctl.store.database import Database
from wlmctl.store.leases import ORCHESTRATOR, experiment_lease, take


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    with open_database(tmp_path) as database:
        monkeypatch.setenv("WLMCTL_STORE", database.url)
        yield database


def call(*args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, list(args), input=stdin)


def document(*args: str) -> dict[str, Any]:
    result = call(*args, "-o", "json")
    assert result.exit_code == 0, result.output
    value: dict[str, Any] = json.loads(result.stdout)
    assert value["version"] == 1
    return value


def id_of(db: Database, seq: int) -> str:
    row = experiments.get(db, seq)
    assert row is not None
    return row.id


def test_a_fresh_default_store_lists_nothing_and_is_no_error() -> None:
    result = call("status")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_the_list_is_newest_first_with_counts_by_state(db: Database) -> None:
    first = put(db, [template("a"), template("b")], states={"a": "succeeded"}, labels=["x=1"])
    second = put(db, [template("a")], name="other", state="failed", states={"a": "failed"})
    found = document("status")["experiments"]
    assert [each["id"] for each in found] == [id_of(db, second), id_of(db, first)]
    assert found[1]["tasks_by_state"] == {"succeeded": 1, "waiting": 1}
    assert found[1]["labels"] == ["x=1"]
    assert found[1]["created"] == "2023-11-14T22:13:20.000Z"
    assert (found[0]["state"], found[0]["ended"]) == ("failed", "2023-11-14T22:14:20.000Z")
    assert "tasks" not in found[0]
    lines = call("status").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", id_of(db, second), id_of(db, first)]


def test_one_experiment_comes_with_each_instance_once(db: Database) -> None:
    seq = put(db, [template("sim", count=3)], states={"sim[1]": "succeeded", "sim[2]": "failed"})
    (found,) = document("status", id_of(db, seq))["experiments"]
    assert [task["id"] for task in found["tasks"]] == ["sim[1]", "sim[2]", "sim[3]"]
    done, failed, waiting = found["tasks"]
    assert done["outputs"] == {"energy": "1"}
    assert (failed["exit_code"], failed["failure_class"], failed["reason"]) == (3, "user", "exit code 3")
    assert (failed["started"], failed["ended"]) == ("2023-11-14T22:13:30.000Z", "2023-11-14T22:13:40.000Z")
    assert (waiting["state"], waiting["machine"], waiting["started"]) == ("waiting", None, None)


def test_what_a_retry_has_changed_is_shown_while_its_attempt_is_under_way(db: Database) -> None:
    seq = put(db, [template("fit")], states={"fit": "running"})
    asked = '{"memory_bytes": 1073741824, "walltime_s": 900.0}'
    with db.transaction():
        db.execute("UPDATE tasks SET asked = ?, reason = NULL WHERE exp = ?", (asked, seq))
    shown = call("status", id_of(db, seq)).stdout
    assert "asks for 1.0 GiB of memory and a walltime of 15m 00s since a retry" in shown
    (found,) = document("status", id_of(db, seq))["experiments"]
    assert found["tasks"][0]["changed_resources"] == json.loads(asked)


def test_a_large_group_is_folded_unless_all_are_asked_for(db: Database) -> None:
    states = {f"sim[{n}]": "succeeded" for n in range(1, 31)}
    seq = put(db, [template("sim", count=40), template("end", needs=["sim"])], states=states)
    lines = call("status", id_of(db, seq)).stdout.splitlines()
    assert sum("sim" in line for line in lines) == 2
    assert any("sim (40)" in line and "30 succeeded" in line for line in lines)
    assert any("10 waiting" in line for line in lines)
    assert any(line.startswith("end ") for line in lines)
    everything = call("status", "--all", id_of(db, seq)).stdout
    assert "sim[40]" in everything
    assert everything.count("sim[") == 40


def test_a_prefix_will_do_where_only_one_begins_so(db: Database) -> None:
    one = put(db, [template("a")], name="alpha")
    put(db, [template("a")], name="beta")
    put(db, [template("a")], name="beta")
    assert call("status", "-q", "al").stdout == id_of(db, one) + "\n"
    ambiguous = call("status", "be")
    assert ambiguous.exit_code == 2
    assert "is the beginning of several ids" in ambiguous.stderr
    unknown = call("status", "gamma")
    assert (unknown.exit_code, unknown.stderr.count("\n")) == (3, 1)


def test_filters_are_all_to_be_met(db: Database) -> None:
    mine = put(db, [template("a")], name="sweep-1", labels=["x", "y"])
    put(db, [template("a")], name="sweep-2", labels=["x"])
    put(db, [template("a")], name="sweep-3", labels=["x", "y"], state="failed")
    args = ["--name", "sweep-*", "--label", "x", "--label", "y", "--state", "running"]
    assert call("status", "-q", *args).stdout.split() == [id_of(db, mine)]


def test_since_counts_from_now(db: Database) -> None:
    put(db, [template("a")])
    new = put(db, [template("a")], now_s=time.time() - 30)
    assert call("status", "-q", "--since", "1h").stdout.split() == [id_of(db, new)]


def test_a_filter_without_a_match_is_a_note_and_no_failure(db: Database) -> None:
    result = call("cancel", "--state", "running")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "wlmctl: no experiment matches\n")


def test_ids_on_stdin_are_taken_each_once(db: Database) -> None:
    ids = [id_of(db, put(db, [template("a")], state="succeeded")) for _ in range(3)]
    result = call("wait", "-", stdin="\n".join([*ids, ids[0]]) + "\n")
    assert result.exit_code == 0
    assert sorted(result.stdout.splitlines()) == sorted(f"{each} succeeded" for each in ids)


@pytest.mark.parametrize("command", ["wait", "cancel", "pause", "resume", "retry"])
def test_saying_nothing_about_which_is_bad_usage_for_what_changes_or_waits(db: Database, command: str) -> None:
    put(db, [template("a")])
    result = call(command)
    assert result.exit_code == 2
    assert "which experiments?" in result.stderr


def test_ids_and_filters_do_not_mix(db: Database) -> None:
    assert call("status", "x", "--state", "failed").exit_code == 2


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["succeeded", "succeeded"], 0),
        (["succeeded", "cancelled"], 5),
        (["cancelled", "failed", "succeeded"], 1),
    ],
)
def test_wait_ends_with_the_first_that_applies(db: Database, states: list[str], code: int) -> None:
    ids = [id_of(db, put(db, [template("a")], state=state)) for state in states]
    assert call("wait", *ids).exit_code == code


def test_wait_sees_an_end_that_another_process_commits(db: Database) -> None:
    seq = put(db, [template("a")])
    identifier = id_of(db, seq)
    results = list[Result]()
    waiting = threading.Thread(target=lambda: results.append(call("wait", "--timeout", "60", identifier)))
    waiting.start()
    with open_database(Path(db.name).parent) as other:
        control.cancel(other, seq, now_s=NOW_S, by="me")
    waiting.join(60)
    assert results[0].exit_code == 5
    assert results[0].stdout == f"{identifier} cancelled\n"


def test_wait_gives_up_after_the_timeout_and_names_what_has_not_ended(db: Database) -> None:
    identifier = id_of(db, put(db, [template("a")]))
    result = call("wait", identifier, "--timeout", "0.1s")
    assert result.exit_code == 124
    assert identifier in result.stderr


def test_wait_warns_while_no_process_works_on_it(db: Database) -> None:
    submitted = id_of(db, put(db, [template("a")]))
    run = put(db, [template("a")], origin="run")
    assert "no orchestrator is running" in call("wait", submitted, "--timeout", "0").stderr
    assert f"wlmctl resume {id_of(db, run)} goes on" in call("wait", id_of(db, run), "--timeout", "0").stderr
    with db.transaction():
        take(db, ORCHESTRATOR, expect=None)
        take(db, experiment_lease(run), expect=None)
    for identifier in (submitted, id_of(db, run)):
        assert call("wait", identifier, "--timeout", "0").stderr.count("\n") == 1


def test_events_are_one_object_a_line_in_order_and_tell_no_nonce(db: Database) -> None:
    seq = put(db, [template("a"), template("b")], states={"a": "succeeded"})
    result = call("events", id_of(db, seq), "-o", "json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["n"] for line in lines] == list(range(1, len(lines) + 1))
    assert [line["to"] for line in lines] == ["running", "ready", "assigned", "running", "deferred", "succeeded"]
    assert {line["task"] for line in lines} == {None, "a"}
    assert "n0nce" not in result.stdout
    assert lines[-1]["data"]["outputs"] == {"energy": "1"}
    assert lines[-1]["data"]["ended"] == "2023-11-14T22:13:40.000Z"


def test_events_of_one_task_only(db: Database) -> None:
    seq = put(db, [template("sim", count=2)], states={"sim[1]": "failed", "sim[2]": "failed"})
    lines = call("events", id_of(db, seq), "sim:2").stdout.splitlines()
    assert lines
    assert all("sim[2]" in line for line in lines)
    assert call("events", id_of(db, seq), "sim:7").exit_code == 3


def test_following_events_ends_with_the_experiment(db: Database) -> None:
    seq = put(db, [template("a")])
    results = list[Result]()
    following = threading.Thread(target=lambda: results.append(call("events", id_of_text, "-f", "-o", "json")))
    id_of_text = id_of(db, seq)
    following.start()
    with open_database(Path(db.name).parent) as other:
        control.cancel(other, seq, now_s=NOW_S, by="me")
    following.join(60)
    assert json.loads(results[0].stdout.splitlines()[-1])["to"] == "cancelled"


def test_status_does_not_read_experiment_files_machinery(db: Database) -> None:
    import subprocess
    import sys

    identifier = id_of(db, put(db, [template("a")]))
    script = (
        "import sys; from wlmctl.cli.main import cli\n"
        f"try: cli.main(['status', {identifier!r}, '-o', 'json'])\n"
        "except SystemExit: pass\n"
        "names = {'yaml', 'msgspec', 'rich', 'pluggy', 'paramiko', 'wlmctl.experiment'}\n"
        "print(sorted(names & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
