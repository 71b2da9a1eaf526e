"""The reference pages say what the command line has: every command, every option, every exit code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from wlmctl.cli.commands import COMMANDS, RESERVED
from wlmctl.cli.main import cli
from wlmctl.errors import ExitCode

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def section(name: str) -> str:
    page = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    for part in page.split("\n## ")[1:]:
        if part.split()[0] == name:
            return part
    raise AssertionError(f"docs/reference/commands.md has no section {name}")


def options(command: click.Command) -> Iterator[str]:
    for param in command.params:
        if isinstance(param, click.Option) and not param.hidden:
            yield from (text for text in param.opts if text.startswith("--"))
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from options(found)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_described_with_all_its_options(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    text = section(name)
    missing = [option for option in options(command) if option not in text]
    assert missing == []


@pytest.mark.parametrize("name", COMMANDS)
def test_no_option_is_described_that_is_not_there(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    known = {*options(command), "--with", "--since"}
    described = set(re.findall(r"`(--[a-z-]+)", section(name)))
    assert described <= known


def test_the_global_options_are_described() -> None:
    text = (REFERENCE / "commands.md").read_text(encoding="utf-8").split("\n## ")[1]
    assert [option for option in options(click.Command("x", params=cli.params)) if option not in text] == []


def test_what_is_reserved_is_named() -> None:
    assert [name for name in RESERVED if f"`{name}`" not in section("Not")] == []


def test_the_table_of_exit_codes_is_the_enumeration() -> None:
    page = (REFERENCE / "exit-codes.md").read_text(encoding="utf-8")
    table = {(int(code), name) for code, name in re.findall(r"^\| (\d+) \| `([A-Z_]+)` \|", page, re.MULTILINE)}
    assert table == {(code.value, code.name) for code in ExitCode}
