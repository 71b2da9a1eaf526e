"""``wlmctl validate`` and ``wlmctl schema``: an experiment file checked, and what it may hold."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import asdict, replace

import click

from wlmctl.cli import common
from wlmctl.errors import ExitCode, InvalidFile, Mistake, UsageError


@click.command()
@click.argument("file")
@click.option("--param", "params", multiple=True, metavar="K=V", help="Set a parameter; may be repeated.")
@click.option("--params-file", metavar="CSV", help="Check the file with the parameters of each row.")
@common.output_option
@click.pass_context
def validate(ctx: click.Context, file: str, params: tuple[str, ...], params_file: str | None, output: str) -> None:
    """Check the experiment FILE (- for standard input) and tell all its mistakes."""
    from wlmctl.cli.submit import parameters

    mistakes = _mistakes(ctx, file, parameters(params), params_file)
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


def _mistakes(ctx: click.Context, file: str, params: dict[str, str], params_file: str | None) -> list[Mistake]:
    """The mistakes of the file; one that several rows of ``params_file`` show is told for the first of them."""
    from wlmctl import plugins
    from wlmctl.experiment import read, read_params_file
    from wlmctl.runtime.batch_options import options_check

    config = common.with_all_machines(ctx)
    check = options_check(config.machines)
    found: dict[Mistake, Mistake] = {}
    try:
        rows = [{}] if params_file is None else read_params_file(params_file)
    except InvalidFile as error:
        return error.mistakes
    both = sorted(params.keys() & rows[0].keys())
    if both:
        raise UsageError(f"--param {both[0]}: {params_file} has a column of that name too")
    text = sys.stdin.buffer.read() if file == "-" and params_file is not None else None
    for number, row in enumerate(rows, 1):
        stdin = None if text is None else io.BytesIO(text)
        try:
            read(
                file, params={**params, **row}, machines=config.machines, counters=config.counters,
                task_type=plugins.task_type, check=check, stdin=stdin,
            )  # fmt: skip
        except InvalidFile as error:
            hint = "" if params_file is None else f"with row {number} of {params_file}"
            for mistake in error.mistakes:
                told = replace(mistake, hint="; ".join(filter(None, (mistake.hint, hint))))
                found.setdefault(mistake, told)
    return list(found.values())
