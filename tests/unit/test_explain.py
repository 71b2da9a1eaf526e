"""`explain` as a page: one line each, whatever is in the store, and what its sentences are made of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.stored import NOW_S, open_database, put, template
from wlmctl.cli.main import cli
from wlmctl.runtime.explaining.facts import listed, moment, stands
from wlmctl.states import TaskState
from wlmctl.store import experiments
from wlmctl.store.database import Database
from wlmctl.store.leases import ORCHESTRATOR, take
from wlmctl.store.record import Recorder


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    with open_database(tmp_path) as database:
        monkeypatch.setenv("WLMCTL_STORE", database.url)
        yield database


def call(db: Database, seq: int, *args: str) -> Result:
    row = experiments.get(db, seq)
    assert row is not None
    result = CliRunner().invoke(cli, ["explain", row.id, *args])
    assert result.exit_code == 0, result.output
    return result


def test_a_reason_of_several_lines_is_shown_in_one(db: Database) -> None:
    seq = put(db, [template("a")], states={"a": "running"})
    with db.transaction():
        recorder = Recorder(db, seq, NOW_S)
        recorder.task(0, TaskState.RUNNING, TaskState.FAILED, reason="first\nsecond\x1b[31m", ended=NOW_S + 20)
        recorder.flush()
    lines = call(db, seq, "a").stdout.splitlines()
    assert lines[1].startswith("why: it failed at ")
    assert lines[1].endswith(r"first\x0asecond\x1b[31m")
    assert all(line.startswith("- ") for line in lines[2:])


@pytest.mark.parametrize("state", [state.value for state in TaskState])
def test_there_is_a_cause_for_every_state_whoever_leads(db: Database, state: str) -> None:
    seq = put(db, [template("a")], states={"a": state})
    for leads in (False, True):
        if leads:
            with db.transaction():
                assert take(db, ORCHESTRATOR, expect=None) is not None
        found = json.loads(call(db, seq, "a", "-o", "json").stdout)
        assert (found["version"], found["state"]) == (1, state)
        assert found["why"]["code"]
        assert found["why"]["text"]


def test_a_task_with_nothing_in_its_way_is_next(db: Database) -> None:
    seq = put(db, [template("a")], states={"a": "ready"})
    with db.transaction():
        take(db, ORCHESTRATOR, expect=None)
    assert json.loads(call(db, seq, "a", "-o", "json").stdout)["why"]["code"] == "next"


def test_words_of_sentences() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(map(str, range(7))) == "0, 1, 2, 3, 4 and 2 more"
    assert listed(["a"], 30) == "a and 29 more"
    assert [stands(state) for state in ("failed", "skipped", "running")] == ["has failed", "was skipped", "is running"]
    assert moment(NOW_S, NOW_S + 90).endswith(" (1m 30s ago)")
    assert moment(NOW_S + 90, NOW_S).endswith(" (in 1m 30s)")
