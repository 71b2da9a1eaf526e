"""``wlmctl submit``: hand experiments to an orchestrator, through the store."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from wlmctl.cli.common import (
    configuration,
    local_time,
    note,
    open_store,
    output_option,
    rfc3339,
    write,
    write_json,
)
from wlmctl.errors import InvalidFile, UsageError

if TYPE_CHECKING:
    from wlmctl.config import Config
    from wlmctl.experiment.model import Experiment
    from wlmctl.store.database import Database


@click.command()
@click.argument("file", metavar="FILE|-")
@click.option("--name", help="Name the experiment otherwise than the file does.")
@click.option("--label", "labels", multiple=True, help="Add a label; may be repeated.")
@click.option("--param", "params", multiple=True, metavar="K=V", help="Set a parameter; may be repeated.")
@click.option("--params-file", metavar="CSV", help="One experiment for each row; the header names the parameters.")
@click.option("--key", help="The same key and content again gives the same id, and submits nothing.")
@click.option("--local-on", metavar="HOST|LABEL", help="local is a worker there: its host, name or label.")
@output_option
@click.pass_context
def submit(
    ctx: click.Context,
    /,
    file: str,
    name: str | None,
    labels: tuple[str, ...],
    params: tuple[str, ...],
    params_file: str | None,
    key: str | None,
    local_on: str | None,
    output: str,
) -> None:
    """Submit the experiment of FILE (-: standard input). Prints its id, and nothing else, on stdout.

    With a schedule in the file that is the id of a series, whose experiments are ID.1, ID.2 and so on.
    """
    for option, text in (("--key", key), ("--local-on", local_on)):
        if text is not None and not text.strip():
            raise UsageError(f"{option}: an empty text, expected a {'key' if option == '--key' else 'host or label'}")
    from wlmctl.runtime.inventory import for_submit
    from wlmctl.runtime.settings import check_batch_systems

    with open_store(ctx) as db:
        config = for_submit(configuration(ctx), db)
    try:
        new = _read_all(config, file, name, labels, parameters(params), params_file)
    except InvalidFile:
        _tell_whose_machines(configuration(ctx), config)
        raise
    for experiment in new:
        check_batch_systems(config, experiment, configuration(ctx))
    is_series = new[0].schedule is not None

    def hand_over(ids: list[str]) -> None:
        """Tell the ids before the commit: an id that nobody could read is not submitted."""
        if output == "json":
            more = {"series": [_series_as_json(db, identifier) for identifier in ids]} if is_series else {}
            write_json({"experiments": [{"id": identifier} for identifier in ids], **more})
        else:
            write("".join(f"{identifier}\n" for identifier in ids))
        sys.stdout.flush()

    from wlmctl.runtime.submit import submit_all
    from wlmctl.runtime.who_works import missing

    with open_store(ctx, create=True) as db:
        for each in submit_all(db, new, key=key, local_on=local_on, hand_over=hand_over):
            if is_series:
                _tell_next(db, each.id)
        for text in missing(db, config, new, local_on):
            note(text)


def _tell_whose_machines(own: Config, counted_on: Config) -> None:
    """Where a file is refused for a machine that only this host's configuration has, say which one counts."""
    if own.machines.keys() - counted_on.machines.keys():
        note("the machines of the orchestrator's configuration count; it reads a changed one when it is started again")


def _series_as_json(db: Database, identifier: str) -> dict[str, str | None]:
    from wlmctl.store.series import get

    row = get(db, identifier)
    return {"id": identifier, "next_due": rfc3339(row.next_due) if row is not None else None}


def _tell_next(db: Database, identifier: str) -> None:
    """Say on stderr when the next experiment of a series is due."""
    from wlmctl.store.series import get

    row = get(db, identifier)
    if row is not None and row.next_due is not None:
        note(f"{identifier} is a series: its next experiment is due at {local_time(row.next_due)}")
    elif row is not None:
        note(f"{identifier} is a series, which is {row.state}: no experiment of it is due")


def parameters(given: Iterable[str]) -> dict[str, str]:
    """The values of ``--param K=V``; a mistake is one line."""
    found: dict[str, str] = {}
    for text in given:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise UsageError(f"--param {text!r}: expected NAME=VALUE")
        if key in found:
            raise UsageError(f"--param {key}: given twice")
        found[key] = value
    return found


def _read_all(
    config: Config,
    file: str,
    name: str | None,
    labels: tuple[str, ...],
    params: Mapping[str, str],
    params_file: str | None,
) -> list[Experiment]:
    from wlmctl.experiment import read
    from wlmctl.plugins import task_type
    from wlmctl.runtime.batch_options import options_check

    machines, counters, check = config.machines, config.counters, options_check(config.machines)
    if params_file is None:
        return [
            read(
                file, name=name, labels=labels, params=params, machines=machines, counters=counters,
                task_type=task_type, check=check,
            )
        ]  # fmt: skip
    from wlmctl.experiment.csvfile import read_params_file

    rows = read_params_file(params_file)
    both = sorted(params.keys() & rows[0].keys())
    if both:
        raise UsageError(f"--param {both[0]}: {params_file} has a column of that name too")
    text = sys.stdin.buffer.read() if file == "-" else b""
    found = []
    for number, row in enumerate(rows, 1):
        try:
            experiment = read(
                file,
                name=name,
                labels=labels,
                params={**params, **row},
                machines=machines,
                counters=counters,
                task_type=task_type,
                check=check,
                stdin=io.BytesIO(text),
            )
        except InvalidFile as error:
            hint = f"with row {number} of {params_file}"
            mistakes = [replace(each, hint=f"{each.hint}; {hint}" if each.hint else hint) for each in error.mistakes]
            raise InvalidFile(mistakes) from error
        found.append(experiment)
    return found
