"""``wlmctl orphans``: jobs and folders on machines that no experiment of the store speaks for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from wlmctl.cli.common import note, open_store, output_option, table, with_all_machines, write_json
from wlmctl.errors import ExitCode, TransportError
from wlmctl.quantities import format_duration, parse_duration

if TYPE_CHECKING:
    from wlmctl.runtime.orphans import Orphan


@click.command()
@click.argument("names", metavar="[MACHINE]...", nargs=-1)
@click.option("--cancel", "is_cancelled", is_flag=True, help="End the jobs.")
@click.option("--clean", "is_cleaned", is_flag=True, help="Remove the folders.")
@click.option("--older", metavar="DURATION", default="1d", show_default=True,
              help="Leave alone what is newer: it may belong to another store.")  # fmt: skip
@output_option
@click.pass_context
def orphans(
    ctx: click.Context, names: Sequence[str], is_cancelled: bool, is_cleaned: bool, older: str, output: str
) -> int:
    """List what was left on machines (default: all that nobody holds) and belongs to no experiment that goes on.

    Jobs of experiments that have ended or that the store does not know, and folders of unknown ones. Somebody who uses
    the same login with another store has such jobs and folders too: look before you take --cancel or --clean.
    """
    from wlmctl.runtime import orphans as search
    from wlmctl.runtime.reach import connections
    from wlmctl.store.machines import holds

    try:
        older_s = parse_duration(older)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--older") from error
    config = with_all_machines(ctx)
    places = config.machines_of(names or sorted(config.machines))
    found: list[tuple[str, Orphan]] = []
    newer_count = 0
    is_away = False
    with open_store(ctx) as db, connections(config) as pool:
        held = {} if names else {name: hold for name, hold in holds(db).items() if hold.by is not None}
        for place in places:
            if place.name in held:
                note(f"machine {place.name} is held {held[place.name].text}: it is not looked at")
                continue
            try:
                with pool.lease(place) as transport:
                    living: set[str] = set()  # jobs come before the folder that they run in
                    for orphan in search.find(place, transport, db, now_s=time.time()):
                        if is_cancelled if orphan.kind == "job" else is_cleaned:
                            if orphan.age_s >= older_s:
                                orphan = search.removed(place, transport, orphan, living)
                            else:
                                newer_count += 1
                        if orphan.kind == "job" and orphan.done != search.CANCELLED:
                            living.add(orphan.experiment)
                        found.append((place.name, orphan))
            except TransportError as error:
                prefix = f"machine {place.name}: "
                note(f"{prefix}{str(error).removeprefix(prefix)}")
                is_away = True
    _tell(found, output, is_all=not is_away)
    if newer_count:
        note(f"{newer_count} newer than {older} left alone: --older says what is old enough")
    return ExitCode.UNREACHABLE if is_away else ExitCode.DONE


def _tell(found: Sequence[tuple[str, Orphan]], output: str, *, is_all: bool) -> None:
    if output == "json":
        rows = [
            {
                "machine": machine,
                "kind": orphan.kind,
                "experiment": orphan.experiment,
                "path": orphan.path,
                "age_s": round(orphan.age_s),
                "job": orphan.ref.get("id") if orphan.ref is not None else None,
                "done": orphan.done or None,
            }
            for machine, orphan in found
        ]
        write_json({"orphans": rows})
    elif found:
        table(
            ("MACHINE", "KIND", "EXPERIMENT", "AGE", "JOB", "PATH", "DONE"),
            [
                (machine, orphan.kind, orphan.experiment, format_duration(orphan.age_s),
                 orphan.ref.get("id") if orphan.ref is not None else None, orphan.path, orphan.done or None)
                for machine, orphan in found
            ],
        )  # fmt: skip
    elif is_all:
        note("nothing is left that the store does not know")
