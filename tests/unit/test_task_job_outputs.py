"""The outputs of jobs: the whole text of a file, a value of a JSON document, what a regular expression finds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from wlmctl_task_job import contents, search
from wlmctl_task_job.declared import parse_output
from wlmctl_task_job.outputs import read_outputs
from wlmctl_transport_local import open_local

from tests.services.commands_only import CommandsOnly
from wlmctl.errors import Broken, TaskFailed
from wlmctl.machine import Machine
from wlmctl.store.outputs import of_column, to_column
from wlmctl.transport import Completed, Transport

LOG = b"""\
step 1: energy = -1.25 Ha
step 2: energy = -1.50 Ha
\xff\xfe no text
converged: True
"""


@pytest.fixture(params=["here", "by command"])
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    with open_local(Machine("local"), {}) as here:
        yield here if request.param == "here" else CommandsOnly(here, "")


def declared(folder: Path, **outputs: Mapping[str, Any]) -> Mapping[str, Mapping[str, str]]:
    return {key: parse_output(key, each).in_handle(f"{folder}/{each['file']}") for key, each in outputs.items()}


def read(folder: Path, transport: Transport, **outputs: Mapping[str, Any]) -> dict[str, tuple[str, bool]]:
    """Characters, and whether they are JSON, by key."""
    found = read_outputs({"job": declared(folder, **outputs)}, transport)["job"]
    if isinstance(found, TaskFailed):
        raise found
    return {key: (value.text, value.is_json) for key, value in found.items()}


def test_the_text_of_a_file_is_stripped(tmp_path: Path, transport: Transport) -> None:
    (tmp_path / "it's").write_text("\n  vier Wörter \n\n")
    found = read(tmp_path, transport, a={"file": "it's"}, b={"file": "it's", "text": True})
    assert found == {"a": ("vier Wörter", False), "b": ("vier Wörter", False)}


@pytest.mark.parametrize(
    ("text", "value", "is_json"),
    [
        ("0.10", "0.10", True),
        ("1e400", "1e400", True),
        ("12345678901234567890", "12345678901234567890", True),
        ('"x y"', "x y", False),
        ("true", "true", True),
        ("null", "null", True),
        ("NaN", "NaN", False),
        ('[1.0, "a", {"b": null}]', '[1.0,"a",{"b":null}]', True),
        ("[Infinity]", "[Infinity]", False),
    ],
)
def test_a_json_value_keeps_its_characters_and_its_type(
    tmp_path: Path, transport: Transport, text: str, value: str, is_json: bool
) -> None:
    (tmp_path / "out").write_text(f'{{"energy": {text}}}')
    assert read(tmp_path, transport, e={"file": "out", "json": "$.energy"}) == {"e": (value, is_json)}


def test_a_regex_gives_the_first_group_of_its_last_match(tmp_path: Path, transport: Transport) -> None:
    (tmp_path / "log").write_bytes(LOG)
    found = read(
        tmp_path,
        transport,
        energy={"file": "log", "regex": r"energy = (\S+)", "as": "float"},
        steps={"file": "log", "regex": r"^step (\d+)", "as": "int"},
        converged={"file": "log", "regex": r"^converged: (.*)$", "as": "bool"},
        whole={"file": "log", "regex": "conv[a-z]+"},
    )
    expected = {"energy": ("-1.50", True), "steps": ("2", True), "converged": ("true", True)}
    assert found == {**expected, "whole": ("converged", False)}


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("007", "int", "7"),
        ("+5", "int", "5"),
        ("1.50", "float", "1.50"),
        ("-.5", "float", "-0.5"),
        ("0.15D-02", "float", "0.0015"),
        ("3", "float", "3"),
        ("FALSE", "bool", "false"),
    ],
)
def test_a_value_of_a_type_becomes_json(tmp_path: Path, transport: Transport, text: str, name: str, value: str) -> None:
    (tmp_path / "out").write_text(text)
    assert read(tmp_path, transport, e={"file": "out", "as": name}) == {"e": (value, True)}
    json.loads(value)


@pytest.mark.parametrize(
    ("content", "how", "said"),
    [
        (b"\xff\xfe", {}, "is not UTF-8 text (byte 0)"),
        (b"x" * 70_000, {}, "the value is longer than 64.0 KiB"),
        (b"{", {"json": "$.a"}, "is no JSON: "),
        (b"[" * 100_000, {"json": "$.a"}, "is no JSON: "),
        (b"{}", {"json": "$.a"}, "nothing at $.a: $ has no 'a'"),
        (b'{"a": {}}', {"json": "$.a.b"}, "nothing at $.a.b: $.a has no 'b'"),
        (b'{"a": "\\u0000"}', {"json": "$.a"}, "the value holds a NUL character"),
        (b"no", {"regex": r"e = (\S+)"}, "nothing in it matches 'e = (\\\\S+)'"),
        (b"many", {"as": "int"}, "found 'many', expected a whole number (as: int)"),
        (b"nan", {"as": "float"}, "found 'nan', expected a finite number (as: float)"),
        (b"1e999", {"as": "float"}, "found '1e999', expected a finite number (as: float)"),
        (b'{"a": "x"}', {"json": "$.a", "as": "bool"}, "found 'x', expected true or false (as: bool)"),
    ],
)
def test_an_output_that_cannot_be_used_is_one_line_with_the_file_and_what_was_found(
    tmp_path: Path, transport: Transport, content: bytes, how: dict[str, str], said: str
) -> None:
    (tmp_path / "out").write_bytes(content)
    with pytest.raises(TaskFailed) as raised:
        read(tmp_path, transport, e={"file": "out", **how})
    assert str(raised.value).startswith(f"outputs.e: {tmp_path}/out: {said.replace(chr(92) * 2, chr(92))}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [("nothing", "there is no such file; the job was expected to write it"), ("folder", "cannot be read: ")],
)
def test_a_file_that_is_not_there_or_is_none_is_named(
    tmp_path: Path, transport: Transport, name: str, said: str
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(TaskFailed) as raised:
        read(tmp_path, transport, e={"file": name})
    assert str(raised.value).startswith(f"outputs.e: {tmp_path}/{name}: {said}")


def test_a_file_and_the_values_of_a_job_together_are_bounded(
    tmp_path: Path, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").write_bytes(b"x" * 60_000)
    with pytest.raises(TaskFailed, match=r"outputs: together the values are longer than 256 KiB"):
        read(tmp_path, transport, **{f"e{n}": {"file": "out"} for n in range(5)})
    monkeypatch.setattr(contents, "FILE_BYTES", 50_000)
    with pytest.raises(TaskFailed, match=r"is larger than 16.0 MiB"):
        read(tmp_path, transport, e={"file": "out", "regex": "x"})


def test_a_regex_that_never_ends_fails_its_own_task_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SEARCH_S", 1.0)
    (tmp_path / "out").write_text("a" * 40)
    slow, quick = {"file": "out", "regex": "(a+)+b"}, {"file": "out", "regex": "a{3}"}
    with open_local(Machine("local"), {}) as transport:
        found = read_outputs(
            {"one": declared(tmp_path, e=quick), "bad": declared(tmp_path, e=slow), "two": declared(tmp_path, e=quick)},
            transport,
        )
    assert isinstance(found["bad"], TaskFailed)
    assert "its search takes longer than 1 s" in found["bad"].reason
    assert [each["e"].text for each in (found["one"], found["two"]) if isinstance(each, dict)] == ["aaa", "aaa"]


class Counted(CommandsOnly):
    """Counts commands, and may cut off an answer."""

    def __init__(self, inner: Transport, keep: slice = slice(None)) -> None:
        super().__init__(inner, "")
        self.keep, self.commands = keep, 0

    def run(self, command: str, stdin: bytes = b"", timeout_s: float | None = None) -> Completed:
        self.commands += 1
        completed = super().run(command, stdin, timeout_s)
        return Completed(completed.exit_code, completed.stdout[self.keep], completed.stderr)


def of_many(folder: Path, transport: Transport, jobs: Sequence[str]) -> Mapping[str, Any]:
    return read_outputs({job: declared(folder, e={"file": job}) for job in jobs}, transport)


def test_the_outputs_of_many_jobs_are_read_by_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [f"job{number}" for number in range(50)]
    for job in jobs[1:]:
        (tmp_path / job).write_text(job)
    with open_local(Machine("local"), {}) as inner:
        transport = Counted(inner)
        found = of_many(tmp_path, transport, jobs)
        assert transport.commands == 1
        assert isinstance(found["job0"], TaskFailed)
        assert all(found[job]["e"].text == job for job in jobs[1:]), found
        monkeypatch.setattr(contents, "ROUND_BYTES", 100)
        assert of_many(tmp_path, transport, jobs[1:]) == {job: found[job] for job in jobs[1:]}
        assert transport.commands > 2, "not all of it is held at once"


def test_an_answer_that_is_cut_off_tells_of_no_output(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("whole")
    with open_local(Machine("local"), {}) as inner, pytest.raises(Broken, match="not told whole"):
        of_many(tmp_path, Counted(inner, slice(0, -10)), ["a"])


def test_the_column_of_the_store_keeps_characters_and_types() -> None:
    texts = {"a": "0.10", "b": "x", "c": "[1,2]", "d": "0.10", "e": "NaN", "f": "[" * 99 + "]" * 99, "g": "\udcff"}
    column = to_column(texts, ["a", "c", "e", "f", "g"])
    assert column is not None
    assert json.loads(column) == {**texts, "a": 0.1, "c": [1, 2]}
    assert of_column(column) == texts
    assert of_column(to_column({"a": "x"})) == {"a": "x"}
    assert of_column(to_column({"a": "\n[1]\r\n", "b": "2\t"}, ["a", "b"])) == {"a": "[1]", "b": "2"}
    assert (to_column({}), of_column(None)) == (None, {})
