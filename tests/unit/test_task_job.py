"""The text of a job, its outputs, and what becomes of an exit file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from wlmctl_task_job.job import JobType
from wlmctl_task_job.jsonpath import JsonPath, NotThere

from wlmctl.errors import Cancelled, SpecError, TaskFailed
from wlmctl.jobs.exit_file import ExitFile, ended
from wlmctl.jobs.sections import Section
from wlmctl.machine import Machine
from wlmctl.task import Deferred, Done, Failed, FailureClass, Gone, PollAnswer
from wlmctl.testing.task import PLACEHOLDER, FakeContext, TaskTypeContract


class TestJobIsATaskType(TaskTypeContract):
    """The shipped suite for task types, which ``job`` passes as any plugin must."""

    text_keys = ("command", "directory")

    @pytest.fixture
    def task_type(self) -> JobType:
        return JobType()

    @pytest.fixture
    def mapping(self) -> dict[str, Any]:
        return {
            "command": ["sh", "-c", "exit 0"],
            "directory": "work",
            "env": {"THREADS": 8},
            "batch": {"shell": {}},
            "outputs": {"energy": {"file": "out.json", "json": "$.energy"}},
        }

    @pytest.fixture
    def context(self, tmp_path: Path) -> FakeContext:
        return FakeContext(tmp_path)


def parsed_error(mapping: dict[str, Any]) -> SpecError:
    with pytest.raises(SpecError) as raised:
        JobType().parse(mapping, Path())
    return raised.value


@pytest.mark.parametrize(
    ("mapping", "key"),
    [
        ({}, "command"),
        ({"command": ""}, "command"),
        ({"command": "  \n"}, "command"),
        ({"command": []}, "command"),
        ({"command": 5}, "command"),
        ({"command": ["echo", None]}, "command[1]"),
        ({"command": ["echo", True]}, "command[1]"),
        ({"command": "a\0b"}, "command"),
        ({"command": "true", "machine": 3}, "machine"),
        ({"command": "true", "directory": ""}, "directory"),
        ({"command": "true", "env": ["A"]}, "env"),
        ({"command": "true", "env": {"A-B": "1"}}, "env.A-B"),
        ({"command": "true", "env": {"9A": "1"}}, "env.9A"),
        ({"command": "true", "env": {"A": ["x"]}}, "env.A"),
        ({"command": "true", "env": {"WLMCTL_TOKEN": "x"}}, "env.WLMCTL_TOKEN"),
        ({"command": "true", "batch": {"slurm": "x"}}, "batch.slurm"),
        ({"command": "true", "outputs": {"a b": {"file": "x"}}}, "outputs.a b"),
        ({"command": "true", "outputs": {"a": "x"}}, "outputs.a"),
        ({"command": "true", "outputs": {"a": {}}}, "outputs.a.file"),
        ({"command": "true", "outputs": {"a": {"file": "x", "json": "energy"}}}, "outputs.a.json"),
        ({"command": "true", "outputs": {"a": {"file": "x", "jsn": "$.e"}}}, "outputs.a.jsn"),
        ({"command": "true", "outputs": {"a": {"file": "x", "text": "all"}}}, "outputs.a.text"),
        ({"command": "true", "outputs": {"a": {"file": "x", "regex": "e = ("}}}, "outputs.a.regex"),
        ({"command": "true", "outputs": {"a": {"file": "x", "regex": ""}}}, "outputs.a.regex"),
        ({"command": "true", "outputs": {"a": {"file": "x", "json": "$.e", "regex": "e"}}}, "outputs.a.regex"),
        ({"command": "true", "outputs": {"a": {"file": "x", "as": "integer"}}}, "outputs.a.as"),
        ({"command": "true", "needs": ["x"]}, "needs"),
    ],
)
def test_a_mistake_in_a_job_is_named_by_its_key(mapping: dict[str, Any], key: str) -> None:
    assert parsed_error(mapping).key == key


def test_a_misspelt_key_brings_a_suggestion() -> None:
    assert "command" in parsed_error({"comand": "true"}).hint


def test_words_are_quoted_and_text_is_left_alone() -> None:
    parse = JobType().parse
    assert parse({"command": ["echo", "a b", 3, "$HOME"]}, Path()).script == "echo 'a b' 3 '$HOME'"
    assert parse({"command": "echo $HOME | cat"}, Path()).script == "echo $HOME | cat"


def test_a_json_path_with_a_run_time_value_waits_until_it_is_known() -> None:
    JobType().parse({"command": "true", "outputs": {"a": {"file": "x", "json": f"$.{PLACEHOLDER}"}}}, Path())


DOCUMENT = {"energy": {"total": "1.50"}, "runs": [{"e": 1}, {"e": 2}], "odd key": "x"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", DOCUMENT),
        ("$.energy.total", "1.50"),
        ("$.runs[1].e", 2),
        ("$.runs[-1].e", 2),
        ("$['odd key']", "x"),
        ('$["runs"][0]["e"]', 1),
    ],
)
def test_a_json_path_finds_its_value(path: str, value: Any) -> None:
    parsed = JsonPath.parse(path)
    assert parsed is not None
    assert parsed.find(DOCUMENT) == value


@pytest.mark.parametrize("path", ["$.nothing", "$.runs[2]", "$.runs.e", "$.energy[0]", "$.energy.total.deeper", "$[0]"])
def test_a_json_path_that_leads_nowhere_says_from_where_on(path: str) -> None:
    parsed = JsonPath.parse(path)
    assert parsed is not None
    with pytest.raises(NotThere, match=r"^\$"):
        parsed.find(DOCUMENT)


@pytest.mark.parametrize("text", ["", "energy", "$energy", "$..energy", "$.", "$.a[*]", "$[a]", "$.a b"])
def test_what_is_no_json_path_is_refused(text: str) -> None:
    assert JsonPath.parse(text) is None


def test_a_job_is_not_submitted_once_it_is_cancelled(tmp_path: Path) -> None:
    context = FakeContext(tmp_path, cancel_at=1)
    job = JobType()
    with pytest.raises(Cancelled):
        job.execute(job.parse({"command": "touch ran"}, tmp_path), context)
    assert not Path(context.private_folder("local")).exists()


def test_a_machine_without_a_shell_is_refused_in_one_line(tmp_path: Path) -> None:
    machine = Machine("nas", host="nas.invalid", shell="none")
    context = FakeContext(tmp_path, machines={"nas": machine})
    with pytest.raises(TaskFailed, match="machine nas has no shell"):
        JobType().execute(JobType().parse({"command": "true", "machine": "nas"}, tmp_path), context)


@pytest.mark.parametrize("key", ["directory", "outputs"])
def test_a_path_may_not_leave_the_experiments_folder_on_a_machine_with_a_login(tmp_path: Path, key: str) -> None:
    context = FakeContext(tmp_path)
    mapping = {"command": "true", "machine": "far"}
    mapping |= {"directory": "a/../.."} if key == "directory" else {"outputs": {"e": {"file": "../x"}}}  # type: ignore[dict-item]
    with pytest.raises(TaskFailed, match="leaves the experiment's folder"):
        JobType().execute(JobType().parse(mapping, tmp_path), context)


def test_on_this_host_a_path_may_leave_the_folder(tmp_path: Path) -> None:
    context = FakeContext(tmp_path)
    handle = JobType().handle(
        JobType().parse({"command": "true", "outputs": {"e": {"file": "../x"}}}, tmp_path), context
    )
    assert handle["outputs"] == {"e": {"file": str(tmp_path / "local" / "x")}}


def test_the_handle_can_be_named_without_a_start_and_travels_as_json(tmp_path: Path) -> None:
    context, job = FakeContext(tmp_path), JobType()
    spec = job.parse({"command": "true"}, tmp_path)
    prepared = job.handle(spec, context)
    assert not Path(context.private_folder("local")).exists()
    started = job.execute(spec, context)
    assert isinstance(started, Deferred)
    assert prepared["job"].items() <= started.handle["job"].items()
    assert json.loads(json.dumps(started.handle)) == started.handle


def end(line: str, cancelled: bool = False) -> PollAnswer:
    exit_file = ExitFile.parse(line.encode())
    assert exit_file is not None
    return ended(exit_file, {"walltime_s": 60.0}, Section(cancelled, [], b"out", b"err\n\nthe reason\n"))


@pytest.mark.parametrize(
    ("line", "failure_class", "reason"),
    [
        ("wlm1 3 n 0 0 0 self end", "user", "exit code 3: the reason"),
        ("wlm1 137 n 0 0 0 self end", "user", "killed by SIGKILL"),
        ("wlm1 137 n 0 0 1 self end", "memory", "memory"),
        ("wlm1 143 n 0 1 0 self end", "time", "exceeded its walltime of 60 s"),
        ("wlm1 0 n 0 1 0 self end", "time", "walltime"),
        ("wlm1 0 n 1 0 0 self end", "user", "signal from outside"),
        ("wlm1 255 n 0 0 0 self end", "user", "exit code 255"),
    ],
)
def test_the_exit_file_tells_the_failures_apart(line: str, failure_class: str, reason: str) -> None:
    answer = end(line)
    assert isinstance(answer, Failed)
    assert answer.failure_class is FailureClass(failure_class)
    assert reason in answer.reason
    assert answer.stdout == b"out"


def test_after_a_cancel_only_an_end_by_itself_counts() -> None:
    assert isinstance(end("wlm1 0 n 0 0 0 self end", cancelled=True), Done)
    assert isinstance(end("wlm1 3 n 0 0 0 self end", cancelled=True), Failed)
    assert isinstance(end("wlm1 0 n 1 0 0 self end", cancelled=True), Gone)
    assert isinstance(end("wlm1 137 n 1 0 0 cancel end"), Gone)


@pytest.mark.parametrize(
    "line", [b"", b"wlm1 0 n 0 0 0 self", b"wlm1 0 n 0 0 0 self en", b"\0" * 40, b"wlm1 x n 0 0 0 self end"]
)
def test_a_torn_exit_file_counts_as_none(line: bytes) -> None:
    assert ExitFile.parse(line) is None
