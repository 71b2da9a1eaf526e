"""`wlmctl explain` from the shell: text and JSON, what it says of tasks of real runs, and what of bad input."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import CommandLine
from tests.waiting import wait_until


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    command = CommandLine(tmp_path)
    yield command
    command.close()


def explained(line: CommandLine, experiment: str, task: str) -> dict[str, Any]:
    document: dict[str, Any] = line.json("explain", experiment, task)
    assert list(document) == ["version", "experiment", "task", "state", "why", "facts", "expected_start"]
    assert document["version"] == 1
    for fact in (document["why"], *document["facts"]):
        assert list(fact)[:2] == ["code", "text"]
    return document


def codes(document: dict[str, Any]) -> list[str]:
    return [fact["code"] for fact in document["facts"]]


def test_what_was_submitted_and_nobody_works_on_says_what_to_type(line: CommandLine) -> None:
    line.write("e.yaml", "name: e\ntasks: {a: {type: job, command: 'true'}}")
    experiment = line.run("submit", "e.yaml").stdout.strip()
    done = line.run("explain", experiment, "a")
    assert done.stdout.splitlines() == [
        f"{experiment} a: waiting",
        "why: no orchestrator is running: start one with wlmctl orchestrator",
    ]
    assert done.stderr == ""


def test_of_a_run_that_has_failed_it_says_how_and_what_followed(line: CommandLine) -> None:
    line.write(
        "e.yaml", "name: e\ntasks: {a: {type: job, command: exit 3}, b: {type: job, needs: [a], command: 'true'}}"
    )
    line.run("run", "e.yaml", code=1)
    [experiment] = line.ids()
    failed = explained(line, experiment, "a")
    assert (failed["why"]["code"], failed["why"]["exit_code"], failed["why"]["failure_class"]) == ("failed", 3, "user")
    assert "no_retry" in codes(failed)
    skipped = explained(line, experiment, "b")
    assert skipped["why"]["code"] == "skipped"
    assert skipped["facts"][0]["text"].startswith("b needs a, which has failed: ")


def test_while_an_orchestrator_works_the_cause_follows_what_happens(line: CommandLine) -> None:
    line.write("wlmctl.toml", "[machines.local]\ncpus = 1\n")
    line.write(
        "e.yaml",
        "name: e\ntasks:\n"
        "  first: {type: job, command: 'while ! test -e go; do sleep 0.05; done'}\n"
        "  second: {type: job, command: 'true'}\n"
        "  third: {type: job, needs: [first], command: 'true'}\n",
    )
    experiment = line.run("submit", "e.yaml").stdout.strip()
    line.start("orchestrator")
    wait_until(lambda: line.tasks(experiment)["first"]["state"] == "deferred", "the first job runs", 60)
    running = explained(line, experiment, "first")
    assert (running["why"]["code"], running["why"]["machine"]) == ("running", "local")
    full = explained(line, experiment, "second")
    assert (full["why"]["code"], full["why"]["cpus_free"]) == ("capacity", 0)
    assert full["why"]["holders"] == [{"experiment": experiment, "task": "first", "cpus": 1}]
    needs = explained(line, experiment, "third")
    assert (needs["why"]["code"], needs["why"]["tasks"]) == ("needs", ["first"])
    assert needs["facts"][0]["why"] == "running"
    line.run("pause", experiment)
    assert explained(line, experiment, "second")["why"]["code"] == "paused"
    line.run("resume", experiment)
    line.write("go", "")
    line.run("wait", experiment)
    assert explained(line, experiment, "third")["why"]["code"] == "succeeded"


def test_a_run_that_waits_for_its_retry_says_until_when(line: CommandLine) -> None:
    line.write("e.yaml", "name: e\ntasks: {a: {type: job, command: exit 3, retry: {limit: 1, delay: 1h}}}")
    line.start("run", "e.yaml")
    wait_until(lambda: bool(line.ids()), "the run is in the store", 60)
    [experiment] = line.ids()
    wait_until(lambda: line.tasks(experiment)["a"]["attempt"] == 2, "the first attempt has failed", 60)
    found = explained(line, experiment, "a")["why"]
    assert (found["code"], found["attempt"]) == ("retry_delay", 2)
    assert "exit code 3" in found["text"]


def test_one_task_is_asked_for_and_no_series_or_group(line: CommandLine) -> None:
    line.write("e.yaml", "name: e\ntasks: {a: {type: job, foreach: {n: 1..2}, command: 'true'}}")
    experiment = line.run("submit", "e.yaml").stdout.strip()
    assert line.run("explain", experiment, "a:2").stdout.startswith(f"{experiment} a[2]: waiting\n")
    several = line.run("explain", experiment, "a", code=2)
    assert several.stderr == "wlmctl: explain: a is 2 tasks, expected one of them, such as a[1]\n"
    assert line.run("explain", experiment, "b", code=3).stdout == ""
    line.run("explain", "nothing-aaaaaa", "a", code=3)
    line.run("explain", experiment, code=2)
