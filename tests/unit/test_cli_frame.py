"""The frame of the command line: help, reserved commands, plugin commands, and each ending's exit code."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from wlmctl import plugins
from wlmctl.cli.commands import COMMANDS, RESERVED
from wlmctl.cli.main import USAGE, cli
from wlmctl.errors import ExitCode, InvalidFile, Mistake, StoreError


def call(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], Result]:
    """Runs a command of a plugin that ends by raising what is given."""

    def run(error: BaseException) -> Result:
        @click.command()
        def boom() -> None:
            raise error

        monkeypatch.setattr(plugins, "command_names", lambda: ["boom"])
        monkeypatch.setattr(plugins, "command", lambda _: boom)
        return call("boom")

    return run


def test_help_names_every_command_and_imports_none_of_them() -> None:
    script = (
        "import sys; from wlmctl.cli.main import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'rich', 'msgspec', 'yaml', 'pluggy', 'paramiko', 'sqlite3', 'wlmctl.store', 'wlmctl.config'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)), [m for m in sys.modules if m.startswith('wlmctl.cli.')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "HEAVY [] ['wlmctl.cli.commands', 'wlmctl.cli.streams', 'wlmctl.cli.main']" in done.stdout.replace(
        "'wlmctl.cli.main', 'wlmctl.cli.commands', 'wlmctl.cli.streams'",
        "'wlmctl.cli.commands', 'wlmctl.cli.streams', 'wlmctl.cli.main'",
    )
    for name in [*COMMANDS, *RESERVED]:
        assert name in done.stdout


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_has_a_help_of_its_own(name: str) -> None:
    result = call(name, "--help")
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Usage: wlmctl {name}")


@pytest.mark.parametrize("name", RESERVED)
@pytest.mark.parametrize("rest", [[], ["--help"], ["show", "x", "--flag", "-o", "json"]])
def test_a_command_of_later_work_says_not_yet_whatever_its_arguments(name: str, rest: list[str]) -> None:
    result = call(name, *rest)
    assert result.exit_code == USAGE
    assert result.stderr == f"wlmctl: {name}: not yet: this is reserved for a later version\n"
    assert result.stdout == ""


def test_no_command_shows_the_help_and_is_bad_usage() -> None:
    result = call()
    assert result.exit_code == USAGE
    assert "Commands:" in result.stderr


def test_an_unknown_command_is_one_line_with_what_was_meant() -> None:
    result = call("statsu")
    assert result.exit_code == USAGE
    assert result.stderr == "wlmctl: no such command 'statsu' (did you mean 'status'?) (see: wlmctl --help)\n"


@pytest.mark.parametrize(
    "args", [["status", "--stat", "x"], ["wait", "--timeout", "soon", "x"], ["logs"], ["submit", "a", "b"]]
)
def test_bad_usage_is_one_line_on_stderr(args: list[str]) -> None:
    result = call(*args)
    assert result.exit_code == USAGE
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith(f"(see: wlmctl {args[0]} --help)\n")


def test_the_version_is_printed_on_stdout() -> None:
    result = call("--version")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("wlmctl ")


def test_a_bug_is_a_traceback_and_70_never_1(raising: Callable[[BaseException], Result]) -> None:
    result = raising(KeyError("x"))
    assert result.exit_code == ExitCode.BUG
    assert "Traceback" in result.stderr
    assert result.stderr.rstrip().endswith("this is a bug in wlmctl, or in a plugin")


def test_an_error_of_ours_is_one_line_with_its_code(raising: Callable[[BaseException], Result]) -> None:
    result = raising(StoreError("store /x: it is broken"))
    assert (result.exit_code, result.stderr) == (4, "wlmctl: store /x: it is broken\n")


def test_an_invalid_file_is_one_line_a_mistake(raising: Callable[[BaseException], Result]) -> None:
    mistakes = [Mistake("e.yaml", 3, "name", "7", "a text"), Mistake("e.yaml", 9, "tasks", "nothing", "a task")]
    result = raising(InvalidFile(mistakes))
    assert result.exit_code == USAGE
    assert result.stderr == "e.yaml:3: name: 7, expected a text\ne.yaml:9: tasks: nothing, expected a task\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyboardInterrupt(), 130), (SystemExit(7), 7), (SystemExit(None), 0), (BrokenPipeError(), 141)],
)
def test_each_other_ending_has_its_code(
    raising: Callable[[BaseException], Result], error: BaseException, code: int
) -> None:
    assert raising(error).exit_code == code


def test_what_a_command_returns_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    command = click.Command("boom", callback=lambda: ExitCode.TIMEOUT)
    monkeypatch.setattr(plugins, "command_names", lambda: ["boom"])
    monkeypatch.setattr(plugins, "command", lambda _: command)
    assert call("boom").exit_code == ExitCode.TIMEOUT


def test_a_plugins_command_is_in_the_help_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = list[str]()

    @click.command(help="Says hello.")
    def hello() -> None:
        click.echo("hello")

    monkeypatch.setattr(plugins, "command_names", lambda: ["hello"])

    def command(name: str) -> click.Command:
        imported.append(name)
        return hello

    monkeypatch.setattr(plugins, "command", command)
    assert "hello" in call("--help").stdout
    assert imported == []
    assert call("hello").stdout == "hello\n"


def test_a_plain_function_of_a_plugin_is_a_command_too(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.SimpleNamespace(hello=lambda: click.echo("plain"))
    monkeypatch.setattr(plugins, "command_names", lambda: ["hello"])
    monkeypatch.setattr(plugins, "command", lambda _: module.hello)
    assert call("hello").stdout == "plain\n"


def test_a_broken_configuration_is_told_for_a_command_but_not_for_help(tmp_path: Path) -> None:
    broken = tmp_path / "wlmctl.toml"
    broken.write_text("store = [\n")
    assert call("--config", str(broken), "status").exit_code == USAGE
    assert call("--config", str(broken), "--help").exit_code == 0
