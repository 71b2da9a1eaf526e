"""``wlmctl retry``: a new attempt for tasks that have failed, been cancelled or skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wlmctl.cli.common import now_s, open_store, output_option, with_all_machines
from wlmctl.cli.control import go_on, no_run_option
from wlmctl.cli.selection import Selection, chosen, with_selection_options
from wlmctl.errors import InvalidFile, NoSuch, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wlmctl.experiment.model import Experiment
    from wlmctl.store.database import Database
    from wlmctl.store.rows import ExperimentRow


@click.command()
@with_selection_options("[ID] [TASK]...")
@click.option("--from", "redo", metavar="TASK", multiple=True, help="Do TASK and all behind it again, also succeeded.")
@click.option("--with", "file", metavar="FILE", help="First take the new texts and files from FILE.")
@click.option("--param", "params", multiple=True, metavar="K=V", help="With --with: set a parameter.")
@no_run_option
@output_option
@click.pass_context
def retry(
    ctx: click.Context,
    /,
    selection: Selection,
    redo: tuple[str, ...],
    file: str | None,
    params: tuple[str, ...],
    no_run: bool,
    output: str,
) -> int:
    """Give the failed, cancelled and skipped tasks of experiments a new attempt: all, or the TASKs named.

    Succeeded tasks stay as they are, except with --from. An experiment of `wlmctl run` that no process works on is
    worked on here, to its end.
    """
    if params and file is None:
        raise UsageError("--param: only together with --with FILE")
    from wlmctl.retry import retry as again
    from wlmctl.runtime.lookup import tasks_named
    from wlmctl.runtime.submit import login_name

    with open_store(ctx) as db:
        rows, names = _split(db, selection)
        if len(rows) != 1 and (redo or file is not None):
            raise UsageError("--from and --with are for one experiment at a time")
        changes = [
            again(
                db,
                row.seq,
                now_s=now_s(),
                by=login_name(),
                tasks=[task.idx for name in names for task in tasks_named(db, row, name)],
                redo=[task.idx for name in redo for task in tasks_named(db, row, name)],
                text=None if file is None else _read(ctx, db, row, file, params),
            )
            for row in rows
        ]
        return go_on(ctx, db, changes, no_run, output)


def _split(db: Database, selection: Selection) -> tuple[list[ExperimentRow], list[str]]:
    """The experiments, and the names of tasks: a word after the first id is a task of it, if it has such a one."""
    from wlmctl.runtime.lookup import tasks_named
    from wlmctl.store import experiments

    if selection.from_stdin or len(selection.ids) < 2:
        return chosen(db, selection), []
    rows, names = [experiments.find(db, selection.ids[0])], list[str]()
    for word in selection.ids[1:]:
        try:
            tasks_named(db, rows[0], word)
            names.append(word)
        except (NoSuch, UsageError) as no_task:
            try:
                rows.append(experiments.find(db, word))
            except NoSuch:
                raise no_task from None
    if names and len(rows) > 1:
        raise UsageError(f"{', '.join(names)}: tasks can be named for one experiment at a time")
    return list({row.seq: row for row in rows}.values()), names


def _read(ctx: click.Context, db: Database, row: ExperimentRow, file: str, params: tuple[str, ...]) -> Experiment:
    """The checked file; parameters that it leaves open have the values of the submit, unless ``--param`` gives some."""
    from wlmctl.cli.submit import parameters
    from wlmctl.experiment import read
    from wlmctl.plugins import task_type
    from wlmctl.runtime.batch_options import options_check
    from wlmctl.store.experiments import document

    config, given = with_all_machines(ctx), parameters(params)

    def checked(values: Mapping[str, str]) -> Experiment:
        return read(
            file, name=row.name, params=values, machines=config.machines, counters=config.counters,
            task_type=task_type, check=options_check(config.machines),
        )  # fmt: skip

    try:
        return checked(given)
    except InvalidFile as error:
        before = document(db, row.seq).get("params") or {}
        named = {mistake.key.removeprefix("params.") for mistake in error.mistakes}
        kept = {key: before[key] for key in named - given.keys() if before.get(key) is not None}
        if not kept:
            raise
    return checked({**kept, **given})
