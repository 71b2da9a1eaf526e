"""``wlmctl clean`` and ``wlmctl machine clean``: removing what is left on machines."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from wlmctl.cli.common import (
    Duration,
    note,
    now_s,
    open_store,
    output_option,
    with_all_machines,
    write,
    write_json,
)
from wlmctl.cli.selection import Selection, chosen, selection_options
from wlmctl.errors import ExitCode
from wlmctl.quantities import format_duration, format_size
from wlmctl.text import shown

if TYPE_CHECKING:
    from wlmctl.runtime.clean import Cleaned
    from wlmctl.store.rows import ExperimentRow

_THIRTY_DAYS_S = 30 * 86400.0


@click.command()
@selection_options
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option("--forget", is_flag=True, help="Also remove the experiments from the store, with their logs.")
@output_option
@click.pass_context
def clean(ctx: click.Context, selection: Selection, dry_run: bool, forget: bool, output: str) -> int:
    """Remove the folders of ended experiments from every machine they touched.

    What was delivered elsewhere stays, and on this host everything in the folder of the experiment file. Ends with 4
    when a machine could not be reached; the others are cleaned all the same, and cleaning again does the rest.
    """
    from wlmctl.runtime.clean import check_ended, clean_experiment
    from wlmctl.runtime.clean import forget as forget_in_store
    from wlmctl.runtime.reach import connections
    from wlmctl.states import EXPERIMENT_FINAL

    config = with_all_machines(ctx)
    documents, found_all = list[dict[str, Any]](), list["Cleaned"]()
    with open_store(ctx) as db, connections(config) as pool:
        rows = chosen(db, selection)
        if selection.has_filters:
            rows = [row for row in rows if row.state in EXPERIMENT_FINAL]
        check_ended(rows)
        for row in rows:
            found = clean_experiment(config, db, row, pool, now_s=now_s(), dry_run=dry_run)
            is_forgotten = forget and not dry_run and not any(cleaned.problem for cleaned in found)
            if is_forgotten:
                forget_in_store(db, row)
            documents.append(
                {"id": row.id, "machines": [asdict(cleaned) for cleaned in found], "forgotten": is_forgotten}
            )
            found_all += found
            if output != "json":
                _tell(row, found, dry_run=dry_run, forget=forget, is_forgotten=is_forgotten)
    if output == "json":
        write_json({"dry_run": dry_run, "experiments": documents})
    return _exit_code(found_all)


def _exit_code(found: Sequence[Cleaned]) -> ExitCode:
    if any(cleaned.is_unreachable for cleaned in found):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED if any(cleaned.problem for cleaned in found) else ExitCode.DONE


def _tell(row: ExperimentRow, found: Sequence[Cleaned], *, dry_run: bool, forget: bool, is_forgotten: bool) -> None:
    for cleaned in found:
        where = f"{cleaned.machine}:{shown(cleaned.folder)}" if cleaned.folder else cleaned.machine
        if cleaned.problem:
            note(f"{row.id}: {where} is not removed: {cleaned.problem}")
        elif not cleaned.existed:
            write(f"{row.id}: nothing at {where}\n")
        elif dry_run:
            size = f"{cleaned.files} files, {format_size(cleaned.size_bytes)}"
            write(f"{row.id}: would remove {where} ({size})\n")
        else:
            write(f"{row.id}: removed {where}\n")
    if not found:
        write(f"{row.id}: it touched no machine\n")
    if is_forgotten:
        write(f"{row.id}: forgotten\n")
    elif forget and dry_run:
        write(f"{row.id}: would be forgotten\n")
    elif forget:
        note(f"{row.id} is kept in the store, since not everything could be removed")


@click.command("clean")
@click.argument("machine", metavar="NAME")
@click.option("--older", type=Duration(), default=_THIRTY_DAYS_S, metavar="AGE",
              help="Environments and cached content unused for so long (30d).")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@output_option
@click.pass_context
def machine_clean(ctx: click.Context, machine: str, older: float, dry_run: bool, output: str) -> int:
    """Remove temporary files, unused environments and unused cached content from a machine's scratch folder.

    Temporary files of executions that are under way stay, and those of experiments this store does not know for a
    day; environments stay while an experiment that has not ended has one.
    """
    from wlmctl.errors import TransportError, Unusable
    from wlmctl.runtime.machine_clean import leftovers, remove
    from wlmctl.runtime.reach import connections
    from wlmctl.store.opening import is_there

    config = with_all_machines(ctx)
    place = config.machine(machine)
    has_store = is_there(config)
    try:
        with (
            connections(config) as pool,
            open_store(ctx) if has_store else nullcontext() as db,
            pool.lease(place) as transport,
        ):
            found = leftovers(place, transport, db, older_s=older, now_s=now_s())
            for leftover in found:
                if not dry_run:
                    remove(transport, leftover)
    except TransportError as error:
        raise Unusable(str(error)) from error
    if output == "json":
        write_json({"machine": machine, "dry_run": dry_run, "leftovers": [asdict(leftover) for leftover in found]})
        return ExitCode.DONE
    for leftover in found:
        did = "would remove" if dry_run else "removed"
        age = f"{leftover.kind}, {format_size(leftover.size_bytes)}, {format_duration(leftover.age_s)} old"
        write(f"{did} {machine}:{shown(leftover.path)} ({age})\n")
    if not found:
        write(f"{machine}: nothing to remove\n")
    return ExitCode.DONE
