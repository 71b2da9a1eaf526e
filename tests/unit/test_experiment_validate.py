"""The command ``validate``: mistakes on stderr or as JSON, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.reading import job
from wlmctl.cli.validate import validate
from wlmctl.errors import UsageError


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str, stdin: str | None = None) -> Result:
    monkeypatch.chdir(folder)
    return CliRunner().invoke(validate, list(arguments), input=stdin)


def test_a_right_file_says_nothing_and_exits_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.yaml").write_text(job())
    result = run(tmp_path, monkeypatch, "x.yaml")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert run(tmp_path, monkeypatch, "-", stdin=job()).exit_code == 0


def test_mistakes_go_to_stderr_with_exit_code_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.yaml").write_text(job("timeout: soon\nmachin: a"))
    result = run(tmp_path, monkeypatch, "x.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("x.yaml:6: tasks.t.timeout: found 'soon', expected a duration")


def test_json_has_every_mistake_on_stdout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.yaml").write_text(job("may_fail: 3"))
    result = run(tmp_path, monkeypatch, "x.yaml", "-o", "json")
    assert (result.exit_code, result.stderr) == (2, "")
    assert json.loads(result.stdout) == {
        "version": 1,
        "errors": [
            {
                "file": "x.yaml", "line": 6, "key": "tasks.t.may_fail",
                "found": "found '3'", "expected": "true or false", "hint": "",
            }
        ],
    }  # fmt: skip
    (tmp_path / "x.yaml").write_text(job())
    assert json.loads(run(tmp_path, monkeypatch, "x.yaml", "-o", "json").stdout) == {"version": 1, "errors": []}
    missing = json.loads(run(tmp_path, monkeypatch, "none.yaml", "-o", "json").stdout)
    assert missing["errors"][0] == {
        "file": "none.yaml", "line": None, "key": "",
        "found": "no such file", "expected": "a file that can be read", "hint": "",
    }  # fmt: skip


def test_params_come_from_options_and_from_the_rows_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = job("resources: {cpus: '${n}'}\nenv: {X: '${m}'}", "name: x\nparams: {n: null, m: null}\n")
    (tmp_path / "x.yaml").write_text(text)
    assert run(tmp_path, monkeypatch, "x.yaml", "--param", "n=1", "--param", "m=a=b").exit_code == 0
    (tmp_path / "rows.csv").write_text("n\n1\n2\n")
    assert run(tmp_path, monkeypatch, "x.yaml", "--param", "m=a", "--params-file", "rows.csv").exit_code == 0
    (tmp_path / "rows.csv").write_text("n\n1\nx\ny\n")
    result = run(tmp_path, monkeypatch, "x.yaml", "--param", "m=a", "--params-file", "rows.csv")
    assert result.exit_code == 2
    assert [line.split(", ")[0] for line in result.stderr.splitlines()] == [
        "x.yaml:7: tasks.t.resources.cpus: found 'x'",
        "x.yaml:7: tasks.t.resources.cpus: found 'y'",
    ]
    assert result.stderr.splitlines()[0].endswith("(with row 2 of rows.csv)")
    piped = run(tmp_path, monkeypatch, "-", "--param", "m=a", "--params-file", "rows.csv", stdin=text)
    assert piped.stderr == result.stderr.replace("x.yaml", "-")
    (tmp_path / "rows.csv").write_text("")
    result = run(tmp_path, monkeypatch, "x.yaml", "--params-file", "rows.csv")
    assert (result.exit_code, result.stderr.split(",")[0]) == (2, "rows.csv: no rows")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.yaml", "--param", "n"], "--param 'n': expected NAME=VALUE"),
        (["x.yaml", "--param", "n=1", "--param", "n=2"], "--param n: given twice"),
        (
            ["x.yaml", "--param", "n=1", "--params-file", "rows.csv"],
            "--param n: rows.csv has a column of that name too",
        ),
    ],
)
def test_wrong_options_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    (tmp_path / "rows.csv").write_text("n\n1\n")
    result = run(tmp_path, monkeypatch, *arguments)
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith(message)
