"""``wlmctl validate`` and ``wlmctl schema``: an experiment file checked, and what it may hold."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from wlmctl.cli import common
from wlmctl.errors import ExitCode, InvalidFile, Mistake, UsageError


@click.command()
@click.argument("file")
@click.option("--param", "params", multiple=True, metavar="K=V", help="The value of a param; may be given again.")
@click.option("--params-file", metavar="CSV", help="Check the file with the params of each row.")
@common.output_option
@click.pass_context
def validate(ctx: click.Context, file: str, params: tuple[str, ...], params_file: str | None, output: str) -> None:
    """Check the experiment FILE (- for standard input) and tell all its mistakes."""
    mistakes: dict[Mistake, None] = {}
    try:
        given = split_params(params)
        for row in _rows(file, params_file):
            try:
                _read(ctx, file, {**given, **row})
            except InvalidFile as error:
                mistakes.update(dict.fromkeys(error.mistakes))
    except InvalidFile as error:
        mistakes.update(dict.fromkeys(error.mistakes))
    if output == "json":
        common.write_json({"errors": [asdict(mistake) for mistake in mistakes]})
    else:
        for mistake in mistakes:
            click.echo(str(mistake), err=True)
    if mistakes:
        ctx.exit(ExitCode.USAGE)


@click.command()
def schema() -> None:
    """Print the JSON Schema of the experiment file, with the keys of the installed task types."""
    from wlmctl import plugins
    from wlmctl.experiment import schema as file_schema

    types = {name: plugins.task_type(name) for name in plugins.names("task")}
    common.write(json.dumps(file_schema(types), indent=2) + "\n")


def split_params(given: tuple[str, ...]) -> dict[str, str]:
    """``K=V`` of each ``--param``; the last one of a name counts. ``UsageError`` for one without an equals sign."""
    params: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--param {text!r}: expected NAME=VALUE")
        params[name] = value
    return params


def _rows(file: str, params_file: str | None) -> list[dict[str, str]]:
    if params_file is None:
        return [{}]
    if file == "-":
        raise UsageError("--params-file: expected the path of the experiment file, since - can be read once only")
    from wlmctl.experiment import read_params_file

    return read_params_file(params_file)


def _read(ctx: click.Context, file: str, params: dict[str, str]) -> None:
    from wlmctl import plugins
    from wlmctl.experiment import read

    read(file, params=params, machines=common.configuration(ctx).machines, task_type=plugins.task_type)
