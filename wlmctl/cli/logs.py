"""``wlmctl logs``: what tasks printed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from wlmctl.cli.common import (
    note,
    open_store,
    output_option,
    with_all_machines,
    write,
    write_bytes,
    write_json,
)
from wlmctl.cli.log_pieces import STREAMS, Piece, kept, whole
from wlmctl.errors import NoSuch, UsageError

if TYPE_CHECKING:
    from wlmctl.store.database import Database
    from wlmctl.store.rows import ExperimentRow, TaskRow

#: Of so many tasks at most the new output can be followed at once.
MOST_FOLLOWED = 50


@click.command()
@click.argument("experiment", metavar="ID")
@click.argument("task", metavar="[TASK]", required=False)
@click.option("--stdout", "only_stdout", is_flag=True, help="Only what went to stdout.")
@click.option("--stderr", "only_stderr", is_flag=True, help="Only what went to stderr.")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="Of this attempt (default: the last).")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is printed, until the tasks have ended.")
@click.option("--full", is_flag=True, help="Everything, read from the machine, not only the last 64 KiB.")
@output_option
@click.pass_context
def logs(
    ctx: click.Context,
    /,
    experiment: str,
    task: str | None,
    only_stdout: bool,
    only_stderr: bool,
    attempt: int | None,
    follow: bool,
    full: bool,
    output: str,
) -> None:
    """Show what the tasks of an experiment printed, or one TASK (simulate, simulate[1], simulate:1).

    One stream of one task comes as it is; several have a line above each.
    """
    if follow and (full or attempt is not None):
        raise UsageError("--follow: not together with --full or --attempt")
    streams = [
        stream for stream, wanted in zip(STREAMS, (only_stdout, only_stderr), strict=True)
        if wanted or only_stdout == only_stderr
    ]  # fmt: skip
    with open_store(ctx) as db:
        row, tasks = _tasks(db, experiment, task)
        if follow:
            if len(tasks) > MOST_FOLLOWED:
                raise UsageError(f"{len(tasks)} tasks: at most {MOST_FOLLOWED} can be followed: name one")
            from wlmctl.cli.log_follow import Follower

            Follower(db, row, tasks, streams, output).run()
        elif full:
            _show_whole(ctx, db, row, tasks, streams, attempt, output)
        else:
            _show(kept(db, tasks, streams, attempt), len(tasks) == 1 and len(streams) == 1, output)


def _tasks(db: Database, experiment: str, task: str | None) -> tuple[ExperimentRow, list[TaskRow]]:
    from wlmctl.store import experiments

    row = experiments.find(db, experiment)
    if task is None:
        return row, list(experiments.tasks(db, row.seq))
    from wlmctl.runtime.lookup import tasks_named

    return row, tasks_named(db, row, task)


def _show(pieces: Iterable[Piece], bare: bool, output: str) -> None:
    if output == "json":
        write_json({"logs": [piece.as_json() for piece in pieces]})
        return
    shown = 0
    for piece in pieces:
        if not bare:
            write(("\n" if shown else "") + piece.title)
        write_bytes(piece.content)
        if not bare and not piece.content.endswith(b"\n"):
            write("\n")
        shown += 1
    if not shown:
        note("nothing was printed, or it is not here yet (see: wlmctl logs -f)")


def _show_whole(
    ctx: click.Context,
    db: Database,
    row: ExperimentRow,
    tasks: list[TaskRow],
    streams: list[str],
    attempt: int | None,
    output: str,
) -> None:
    from wlmctl.runtime.reach import connections

    config = with_all_machines(ctx)
    if output == "json" and len(tasks) > MOST_FOLLOWED:
        raise UsageError(f"{len(tasks)} tasks: at most {MOST_FOLLOWED} whole logs go into one document: name one")
    bare = len(tasks) == 1 and len(streams) == 1
    pieces, shown = list[Piece](), 0
    with connections(config) as pool:
        for task in tasks:
            try:
                for stream, number, chunks in whole(config, db, row, task, attempt, pool):
                    if stream not in streams:
                        continue
                    shown += 1
                    if output == "json":
                        pieces.append(Piece(task.name, number, stream, b"".join(chunks)))
                    elif bare:
                        _pour(chunks)
                    else:
                        write(("\n" if shown > 1 else "") + Piece(task.name, number, stream, b"").title)
                        write("" if _pour(chunks) == b"\n" else "\n")
            except NoSuch:
                if len(tasks) == 1:  # of several, some print nothing, or have not begun
                    raise
    if output == "json":
        write_json({"logs": [piece.as_json() for piece in pieces]})
    elif not shown:
        note("nothing was printed")


def _pour(chunks: Iterable[bytes]) -> bytes:
    """Write the chunks as they come; returns the last byte."""
    last = b""
    for chunk in chunks:
        write_bytes(chunk)
        last = chunk[-1:] or last
    return last
