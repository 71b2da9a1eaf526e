"""The task type ``environment`` keeps the contract of task types, and builds once for a digest."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.services.processes import send
from tests.waiting import wait_until
from wlmctl.errors import Cancelled, SpecError, TaskFailed
from wlmctl.machine import Machine
from wlmctl.plugins import task_type as installed_task_type
from wlmctl.task import Done, TaskType
from wlmctl.testing.task import FakeContext, TaskTypeContract


class TestEnvironment(TaskTypeContract):
    text_keys = ("directories", "commands")

    @pytest.fixture
    def task_type(self) -> TaskType:
        return installed_task_type("environment")

    @pytest.fixture
    def mapping(self) -> dict[str, Any]:
        return {
            "machine": "compute",
            "directories": ["work", "a b/c"],
            "files": {
                "work/run.sh": {"from": "run.sh", "mode": "0755"},
                "work/note": {"content": "made by \u00e9\n"},
            },
            "commands": ["cp work/note built", "echo one; echo two >&2"],
        }

    @pytest.fixture
    def context(self, tmp_path: Path) -> Iterator[FakeContext]:
        context = FakeContext(tmp_path, files={"run.sh": b"#!/bin/sh\necho hi\n"})
        yield context
        wait_until(lambda: not living(context.token), "no process of the task is left")

    @pytest.mark.parametrize(
        ("change", "key"),
        [
            ({"machine": ""}, "machine"),
            ({"directories": "work"}, "directories"),
            ({"directories": ["../up"]}, "directories[0]"),
            ({"directories": [""]}, "directories[0]"),
            ({"files": {"a": "text"}}, "files.a"),
            ({"files": {"a": {}}}, "files.a"),
            ({"files": {"a": {"from": "x", "content": "y"}}}, "files.a"),
            ({"files": {"a": {"from": "x", "mod": "1"}}}, "files.a.mod"),
            ({"files": {"a": {"from": "x", "mode": "0999"}}}, "files.a.mode"),
            ({"files": {"a": {"from": "x", "mode": 755}}}, "files.a.mode"),
            ({"files": {"a/": {"from": "x"}}}, "files.a/"),
            ({"files": {"../a": {"from": "x"}}}, "files.../a"),
            ({"files": {"a": {"content": "x"}, "./a": {"content": "y"}}}, "files../a"),
            ({"files": ["a"]}, "files"),
            ({"commands": ["true", " "]}, "commands[1]"),
            ({"modules": "gcc"}, "modules"),
            ({"modules": ["gcc/13", "$(rm -rf)"]}, "modules[1]"),
            ({"modules": ["gcc"], "files": {"./activate": {"content": "x"}}}, "files../activate"),
            ({"command": "x"}, "command"),
        ],
    )
    def test_a_mistake_is_named_by_its_key(
        self, task_type: TaskType, mapping: dict[str, Any], tmp_path: Path, change: dict[str, Any], key: str
    ) -> None:
        with pytest.raises(SpecError) as raised:
            task_type.parse(mapping | change, tmp_path)
        assert raised.value.key == key
        assert raised.value.expected

    def test_files_and_folders_are_made_and_commands_run_beside_the_same_files(
        self, task_type: TaskType, mapping: dict[str, Any], context: FakeContext, tmp_path: Path
    ) -> None:
        done = execute(task_type, mapping, context)
        work = Path(context.folder("compute"), "work")
        assert (work / "run.sh").stat().st_mode & 0o777 == 0o755
        assert (work / "note").read_text() == "made by \u00e9\n"
        assert (work.parent / "a b" / "c").is_dir()
        assert done.folder is not None
        assert Path(done.folder).parent == Path(context.scratch("compute"), "environments")
        assert Path(done.folder, "built").read_text() == "made by \u00e9\n"
        assert (done.stdout, done.stderr, done.exit_code) == (b"one\n", b"two\n", 0)

    def test_a_file_that_is_there_already_keeps_its_mode_unless_one_is_given(
        self, task_type: TaskType, mapping: dict[str, Any], context: FakeContext
    ) -> None:
        del mapping["commands"]
        mapping["files"] = {"own.sh": {"content": "true\n"}}
        own = Path(context.folder("compute"), "own.sh")
        own.parent.mkdir(exist_ok=True)
        own.write_text("true\n")
        own.chmod(0o750)
        execute(task_type, mapping, context)
        assert own.stat().st_mode & 0o777 == 0o750
        mapping["files"] = {"own.sh": {"content": "true\n", "mode": "0700"}, "new": {"content": "x"}}
        execute(task_type, mapping, context)
        assert own.stat().st_mode & 0o777 == 0o700
        assert own.with_name("new").stat().st_mode & 0o777 == 0o644

    def test_without_commands_the_folder_is_the_experiments(
        self, task_type: TaskType, mapping: dict[str, Any], context: FakeContext
    ) -> None:
        del mapping["commands"]
        assert execute(task_type, mapping, context).folder == context.folder("compute")
        assert not Path(context.scratch("compute"), "environments").exists()

    def test_commands_run_once_for_a_digest_and_again_for_another(
        self, task_type: TaskType, mapping: dict[str, Any], context: FakeContext, tmp_path: Path
    ) -> None:
        runs = tmp_path / "runs"
        mapping["commands"] = [f"echo run >>'{runs}'"]
        first = execute(task_type, mapping, context)
        assert execute(task_type, mapping, context.again("e2")).folder == first.folder
        assert runs.read_text() == "run\n"
        mapping["files"]["work/note"] = {"content": "other\n"}
        assert execute(task_type, mapping, context.again("e3")).folder != first.folder
        assert runs.read_text() == "run\nrun\n"

    def test_a_failing_command_is_named_with_its_exit_code_and_last_words(
        self, task_type: TaskType, mapping: dict[str, Any], context: FakeContext
    ) -> None:
        mapping["commands"] = ["true", "echo what is wrong >&2; exit 7", "touch never"]
        with pytest.raises(TaskFailed) as raised:
            execute(task_type, mapping, context)
        reason = "compute: command 2 of 3 (echo what is wrong >&2; exit 7) ended with exit code 7: what is wrong"
        assert (raised.value.reason, raised.value.failure_class, raised.value.job_exit_code) == (reason, "user", 7)
        mapping["commands"] = ["false", "touch never"]
        with pytest.raises(TaskFailed, match=r"command 1 of 2 \(false\) ended with exit code 1"):
            execute(task_type, mapping, context.again("e2"))

    def test_what_a_failed_build_left_is_not_seen_by_the_next(
        self, task_type: TaskType, mapping: dict[str, Any], context: FakeContext, tmp_path: Path
    ) -> None:
        gate = tmp_path / "gate"
        mapping["commands"] = ["test ! -e half", "mkdir half; chmod 500 half", f"test -e '{gate}'"]
        with pytest.raises(TaskFailed, match="command 3 of 3"):
            execute(task_type, mapping, context)
        gate.touch()
        assert execute(task_type, mapping, context.again("e2")).exit_code == 0

    def test_a_machine_without_a_shell_refuses_commands_but_makes_files(
        self, task_type: TaskType, mapping: dict[str, Any], tmp_path: Path
    ) -> None:
        machine = Machine("plain", host="plain.invalid", transport="local", shell="none")
        context = FakeContext(tmp_path, machines={"compute": machine}, files={"run.sh": b""})
        with pytest.raises(TaskFailed, match="the machine plain has none"):
            execute(task_type, mapping, context)
        assert list(Path(context.folder("compute")).iterdir()) == []
        del mapping["commands"]
        execute(task_type, mapping, context.again("e2"))
        assert Path(context.folder("compute"), "work", "note").exists()

    def test_the_preamble_runs_first_and_counts_for_the_digest(
        self, task_type: TaskType, mapping: dict[str, Any], tmp_path: Path
    ) -> None:
        machine = Machine("m", host="m.invalid", transport="local", shell="sh", preamble="GREETING=hello")
        mapping["commands"] = ['echo "$GREETING $WLMCTL_TASK $WLMCTL_ATTEMPT $WLMCTL_EXPERIMENT"']
        files = {"run.sh": b""}
        context = FakeContext(tmp_path, machines={"compute": machine}, files=files)
        first = execute(task_type, mapping, context)
        assert first.stdout == f"hello task 1 {context.experiment}\n".encode()
        other = {"compute": replace(machine, preamble="GREETING=bye")}
        second = execute(task_type, mapping, FakeContext(tmp_path, machines=other, files=files))
        assert second.folder != first.folder

    def test_a_cancel_ends_every_process_even_one_in_a_session_of_its_own(
        self, task_type: TaskType, mapping: dict[str, Any], context: FakeContext, tmp_path: Path
    ) -> None:
        begun = tmp_path / "begun"
        mapping["commands"] = [f"setsid sleep 600 & echo >'{begun}'; sleep 600"]

        def cancel() -> None:
            wait_until(begun.exists, "the command")
            context.cancel()

        threading.Thread(target=cancel).start()
        with pytest.raises(Cancelled):
            execute(task_type, mapping, context)
        assert not living(context.token)

    def test_a_killed_build_is_found_dead_and_made_anew_by_a_waiting_one(
        self, task_type: TaskType, mapping: dict[str, Any], context: FakeContext, tmp_path: Path
    ) -> None:
        begun, gate = tmp_path / "begun", tmp_path / "gate"
        mapping["commands"] = [f"echo $$ >>'{begun}'; test -e '{gate}' || sleep 600"]
        failures: list[BaseException] = []

        def build() -> None:
            try:
                execute(task_type, mapping, context)
            except TaskFailed as error:
                failures.append(error)

        first = threading.Thread(target=build)
        first.start()
        wait_until(begun.exists, "the first build's command")
        results: list[Done] = []
        second = threading.Thread(target=lambda: results.append(execute(task_type, mapping, context.again("e2"))))
        second.start()
        wait_until(lambda: sleepers(context.token), "its command has looked for the gate")
        (lock,) = Path(context.scratch("compute"), "environments").glob("*.lock")
        wait_until((lock / "owner").exists, "the owner in the lock")
        waiting = Path(context.private_folder("compute"), "environment-e2", "beat")
        wait_until(waiting.exists, "the second build waits for the lock")
        assert not results, "the second build did not wait for the first"
        gate.touch()
        own = f"environment-{context.execution}/runner".encode()
        runners = [pid for pid in living(context.token) if own in cmdline(pid)]
        send([*runners, *sleepers(context.token)], signal.SIGKILL)  # the command last, whose end nobody is to see
        first.join(60)
        second.join(60)
        assert [error.failure_class for error in failures] == ["infra"]  # type: ignore[attr-defined]
        assert len(results) == 1
        assert len(begun.read_text().splitlines()) == 2
        assert not lock.exists()

    def test_two_experiments_share_one_build(
        self, task_type: TaskType, mapping: dict[str, Any], context: FakeContext, tmp_path: Path
    ) -> None:
        runs = tmp_path / "runs"
        mapping["commands"] = [f"echo run >>'{runs}'; sleep 1"]
        other = context.again("e2")
        other.experiment = "other-abc234"
        results: list[Done] = []
        threads = [
            threading.Thread(target=lambda each=each: results.append(execute(task_type, mapping, each)))
            for each in (context, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len({result.folder for result in results}) == 1
        assert len(results) == 2
        assert runs.read_text() == "run\n"


def execute(task_type: TaskType, mapping: dict[str, Any], context: FakeContext) -> Done:
    done = task_type.execute(task_type.parse(mapping, Path("/")), context)
    assert isinstance(done, Done)
    return done


def cmdline(pid: int) -> bytes:
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return b""


def sleepers(token: str) -> list[int]:
    """The processes that carry the token and wait for ten minutes."""
    return [pid for pid in living(token) if cmdline(pid) == b"sleep\x00600\x00"]


def living(token: str) -> list[int]:
    """The processes that carry the token."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            environment = Path("/proc", name, "environ").read_bytes()
        except OSError:
            continue
        if f"WLMCTL_TOKEN={token}".encode() in environment:
            found.append(int(name))
    return found
