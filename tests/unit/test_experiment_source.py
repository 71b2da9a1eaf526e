"""Where the experiment comes from: what cannot be read is one line, and nothing hangs."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from tests.reading import job
from wlmctl import plugins
from wlmctl.errors import ExitCode, InvalidFile
from wlmctl.experiment import read


def refusal(source: str, folder: Path, stdin: bytes | None = None) -> str:
    stream = None if stdin is None else io.BytesIO(stdin)
    with pytest.raises(InvalidFile) as caught:
        read(source, task_type=plugins.task_type, cwd=folder, stdin=stream)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_readable_file_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x")
    assert refusal("none.yaml", tmp_path) == "none.yaml: no such file, expected a file that can be read"
    assert refusal(".", tmp_path) == ".: is a folder, expected a file"
    assert refusal("pipe", tmp_path) == "pipe: is not a regular file, expected a file (standard input is -)"
    assert refusal("/dev/null", tmp_path) == "/dev/null: is not a regular file, expected a file"
    found = "file/x: a part of the path is not a folder, expected a file that can be read"
    assert refusal("file/x", tmp_path) == found
    assert refusal("a\0b", tmp_path).endswith("a NUL character in the name, expected the path of a file")


def test_a_file_without_permission_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.yaml").write_text(job())

    def refuse(*_args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # the tests may run as root, who may read everything
    assert refusal("x.yaml", tmp_path) == "x.yaml: no permission to read it, expected a file that can be read"


def test_a_file_of_fifty_megabytes_is_refused_without_reading_it_all(tmp_path: Path) -> None:
    with open(tmp_path / "big.yaml", "wb") as file:
        file.truncate(50 << 20)
    assert refusal("big.yaml", tmp_path) == "big.yaml: is larger than 8 MiB, expected at most 8 MiB"
    assert refusal("-", tmp_path, bytes(9 << 20)) == "-: is larger than 8 MiB, expected at most 8 MiB"


def test_bytes_that_are_not_utf_8_have_their_line(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"name: x\ntasks: \xe4\n")
    assert refusal("x.yaml", tmp_path) == "x.yaml:2: the byte 0xe4, expected UTF-8 text"
    (tmp_path / "x.yaml").write_bytes(job().encode("utf-16"))
    assert refusal("x.yaml", tmp_path) == "x.yaml:1: the byte 0xff, expected UTF-8 text"


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(job().encode("utf-8-sig"))
    assert read("x.yaml", task_type=plugins.task_type, cwd=tmp_path).name == "x"


def test_an_experiment_can_come_from_standard_input(tmp_path: Path) -> None:
    found = read("-", task_type=plugins.task_type, cwd=tmp_path, stdin=io.BytesIO(job().encode()))
    assert (found.name, found.folder) == ("x", str(tmp_path))
    assert refusal("-", tmp_path, b"") == "-: is empty, expected name: and tasks:"


def test_relative_paths_lie_in_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.yaml").write_text(job())
    found = read("deep/../deep/x.yaml", task_type=plugins.task_type, cwd=tmp_path)
    assert found.folder == str(tmp_path / "deep")


def test_a_json_file_is_read_with_lines_and_duplicates(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(
        '{"name": "x", "tasks": {\n"t": {"type": "job", "command": "run",\n"command": 1}}}'
    )
    assert refusal("x.json", tmp_path).startswith("x.json:3: the key 'command' again")
