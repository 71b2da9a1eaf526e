"""``wlmctl cancel``, ``pause``, ``resume`` and ``priority``: what they record, and who does it then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from wlmctl.cli.common import note, now_s, open_store, output_option, rfc3339, write_json
from wlmctl.cli.leasing import work_here
from wlmctl.cli.selection import Selection, chosen_with_series, selection_options
from wlmctl.cli.series import members
from wlmctl.cli.waiting import FINAL, until_final, warn_when_nobody_works
from wlmctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from wlmctl.control import Change
    from wlmctl.series import SeriesChange
    from wlmctl.store.database import Database
    from wlmctl.store.rows import ExperimentRow

no_run_option = click.option("--no-run", is_flag=True, help="Only record it: do not work on it here.")


@click.command()
@selection_options
@click.option("--wait", "proven", is_flag=True, help="Until it is proven that nothing of it runs any more.")
@no_run_option
@output_option
@click.pass_context
def cancel(ctx: click.Context, /, selection: Selection, proven: bool, no_run: bool, output: str) -> int:
    """Cancel experiments: nothing new starts, and their jobs are ended.

    Ends with 0 when that is recorded, with --wait when it is proven. An experiment of `wlmctl run` that no process
    works on is worked on here until its jobs are gone. A series makes no further experiments, and all of its own are
    cancelled.
    """
    from wlmctl import control, series
    from wlmctl.runtime.submit import login_name
    from wlmctl.store.leases import experiment_lease, is_live

    by = login_name()
    with open_store(ctx) as db:
        rows, many = chosen_with_series(db, selection)
        ends = [series.cancel(db, row.id, now_s=now_s(), by=by) for row in many]
        rows += [row for row in members(db, many, rows) if row.state not in FINAL]
        changes = [control.cancel(db, row.seq, now_s=now_s(), by=by) for row in rows]
        tell(changes, output, ends)
        to_do = [change.row for change in changes if not change.is_final or _wants_cleaning(db, change)]
        ours = [row for row in to_do if row.origin == "run" and not no_run]
        if not proven:
            ours = [row for row in ours if not is_live(db, experiment_lease(row.seq))]
        code = work_here(ctx, db, [(row, not proven) for row in ours], "text")
        if code not in (None, ExitCode.DONE, ExitCode.FAILED, ExitCode.CANCELLED):
            return code
        left = [row for row in to_do if row not in ours and row.state not in FINAL]
        warn_when_nobody_works(db, left)
        if proven:
            until_final(db, left, lambda row: note(f"{row.id} is {row.state}"))
    return ExitCode.DONE


@click.command()
@selection_options
@output_option
@click.pass_context
def pause(ctx: click.Context, /, selection: Selection, output: str) -> None:
    """Pause experiments: nothing new starts, what runs goes on (see: wlmctl resume).

    Of a series no further experiment is made; those that have begun go on.
    """
    from wlmctl import control, series
    from wlmctl.runtime.submit import login_name

    with open_store(ctx) as db:
        rows, many = chosen_with_series(db, selection)
        by = login_name()
        pauses = [series.pause(db, row.id, by=by) for row in many]
        tell([control.pause(db, row.seq, now_s=now_s(), by=by) for row in rows], output, pauses)


@click.command()
@selection_options
@no_run_option
@output_option
@click.pass_context
def resume(ctx: click.Context, /, selection: Selection, no_run: bool, output: str) -> int:
    """End a pause, or go on with an interrupted `wlmctl run`.

    An experiment of `wlmctl run` that no process works on is worked on here, to its end; the exit code is that of
    `wlmctl run`. A series goes on with its next due time.
    """
    from wlmctl import control, series

    with open_store(ctx) as db:
        rows, many = chosen_with_series(db, selection)
        resumed = [series.resume(db, row.id, now_s=now_s()) for row in many]
        if resumed and not rows:
            tell([], output, resumed)
            return ExitCode.DONE
        changes = [control.resume(db, row.seq, now_s=now_s()) for row in rows]
        return go_on(ctx, db, changes, no_run, output, resumed)


@click.command()
@click.argument("experiment", metavar="ID")
@click.argument("level", metavar="LEVEL")
@output_option
@click.pass_context
def priority(ctx: click.Context, /, experiment: str, level: str, output: str) -> None:
    """Change the priority of an experiment: low, normal, high, urgent, or 0 to 9 (9 goes first)."""
    from wlmctl import control
    from wlmctl.experiment.model import PRIORITIES
    from wlmctl.store import experiments

    if level not in PRIORITIES and not (len(level) == 1 and level in "0123456789"):
        raise UsageError(f"priority {level!r}: expected {', '.join(PRIORITIES)} or 0 to 9")
    number = PRIORITIES[level] if level in PRIORITIES else int(level)
    with open_store(ctx) as db:
        seq = experiments.find(db, experiment).seq
        tell([control.set_priority(db, seq, number, now_s=now_s())], output)


def tell(changes: Sequence[Change], output: str, of_series: Sequence[SeriesChange] = ()) -> None:
    """Say what was recorded: on stderr, or as a JSON document."""
    if output == "json":
        fields = ("id", "state", "priority", "reason")
        document: dict[str, Any] = {
            "experiments": [
                {**{name: getattr(change.row, name) for name in fields}, "changed": change.changed}
                for change in changes
            ]
        }
        if of_series:
            document["series"] = [
                {
                    "id": change.row.id,
                    "state": change.row.state,
                    "next_due": rfc3339(change.row.next_due) if change.row.state == "active" else None,
                    "changed": change.changed,
                }
                for change in of_series
            ]
        write_json(document)
        return
    for text in (*(change.text for change in of_series), *(change.text for change in changes)):
        note(text)


def go_on(
    ctx: click.Context,
    db: Database,
    changes: Sequence[Change],
    no_run: bool,
    output: str,
    of_series: Sequence[SeriesChange] = (),
) -> int:
    """After a resume or a retry: work here on what came from `run`, unless its process is alive and does it."""
    ours = [] if no_run else [change for change in changes if change.row.origin == "run" and not change.is_final]
    others = [change for change in changes if change not in ours]
    if output == "text" or not ours:
        tell([*others, *(change for change in ours if change.changed)], output, of_series)
    warn_when_nobody_works(db, [change.row for change in others])
    code = work_here(ctx, db, [(change.row, change.changed) for change in ours], output)
    if code is not None:
        return code
    return _code(db, [change.row for change in changes if change.row.origin == "run"])


def _code(db: Database, rows: Sequence[ExperimentRow]) -> int:
    """As `run` ends: by the states of those that have ended."""
    from wlmctl.store.experiments import get

    states = {row.state for row in (get(db, row.seq) for row in rows) if row is not None}
    if "failed" in states:
        return ExitCode.FAILED
    return ExitCode.CANCELLED if "cancelled" in states else ExitCode.DONE


def _wants_cleaning(db: Database, change: Change) -> bool:
    """True when the cancel ended it at once, and its folders are to be removed."""
    from wlmctl.store.experiments import document
    from wlmctl.store.machines import machines_touched

    if not change.changed or change.row.cleaned or not machines_touched(db, change.row.seq):
        return False
    return document(db, change.row.seq).get("clean") == "always"
