"""``wlmctl copy``: files between any two machines of the configuration, or an experiment's folders."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from wlmctl.cli.common import note, open_store, output_option, with_all_machines, write, write_json
from wlmctl.errors import Cancelled, ExitCode, UsageError

if TYPE_CHECKING:
    from wlmctl.connections import ConnectionPool
    from wlmctl.machine import Machine
    from wlmctl.transfer import Endpoint, Place, Plan, Spot, Summary

_ENDPOINTS = "MACHINE:PATH, or ID/ROLE:PATH for an experiment's folder"


@click.command()
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.argument("destination", metavar="DST")
@click.option("--verify", type=click.Choice(["sha256", "size", "none"]), default="sha256", show_default=True,
              help="What is compared before a file gets its name.")  # fmt: skip
@click.option("--exclude", metavar="GLOB", multiple=True, help="Leave out what matches; may be given again.")
@click.option("--symlinks", type=click.Choice(["keep", "follow", "refuse"]), default="keep", show_default=True,
              help="Make symlinks again, copy what they point at, or stop at one.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be copied.")
@output_option
@click.pass_context
def copy(
    ctx: click.Context,
    sources: Sequence[str],
    destination: str,
    verify: str,
    exclude: Sequence[str],
    symlinks: str,
    dry_run: bool,
    output: str,
) -> int:
    """Copy files, folders and patterns between machines.

    SRC and DST are MACHINE:PATH, or ID/ROLE:PATH for an experiment's folder; local: is this host. A relative path
    starts in the login folder, on this host in the current one. A SRC with a final slash means a folder's contents;
    a DST with one receives each SRC under its own name.
    """
    from wlmctl.cli.copy_progress import shown_progress
    from wlmctl.cli.stopping import Stopping
    from wlmctl.runtime.reach import connections
    from wlmctl.transfer import Source, Symlinks, Verify, plan
    from wlmctl.transfer import copy as carry_out

    named = [_endpoint(text) for text in sources]
    to = _endpoint(destination)
    if to.is_pattern:
        raise UsageError(f"{destination}: a pattern cannot be a destination")
    if not to.is_folder and (len(named) > 1 or named[0].is_pattern):
        raise UsageError(f"{destination}: several sources, or a pattern, need a destination with a final slash")
    stopping = Stopping()

    def check() -> None:
        if stopping.is_asked:
            raise Cancelled("interrupted")

    with connections(with_all_machines(ctx)) as pool:
        ends = [_resolved(ctx, pool, check, each) for each in [*named, to]]
        place, spot = ends.pop()
        made = plan(
            [Source(*each) for each in ends],
            place,
            spot,
            symlinks=Symlinks(symlinks),
            exclude=exclude,
            check=check,
        )
        if dry_run:
            _tell_plan(made, output)
            return ExitCode.DONE
        try:  # what was done so far may be broken off anywhere; from here on there are temporary files
            with stopping, shown_progress(is_wanted=output == "text") as progress:
                summary = carry_out(
                    made,
                    verify=Verify(verify),
                    execution=f"copy-{secrets.token_hex(5)}",
                    progress=progress,
                    check=check,
                )
        except Cancelled:
            note("interrupted; no partial file has a final name")
            return stopping.exit_code
    _tell(summary, output)
    return ExitCode.DONE


def _endpoint(text: str) -> Endpoint:
    from wlmctl.text import shown
    from wlmctl.transfer import split_endpoint

    try:
        endpoint = split_endpoint(text)
    except ValueError:
        raise UsageError(f"{shown(text)}: names no machine, expected {_ENDPOINTS} (local:{shown(text)}?)") from None
    if endpoint.role.count("/") > 1 or endpoint.role.endswith("/"):
        raise UsageError(f"{shown(text)}: expected {_ENDPOINTS}")
    return endpoint


def _resolved(
    ctx: click.Context, pool: ConnectionPool, check: Callable[[], None], endpoint: Endpoint
) -> tuple[Place, Spot]:
    from wlmctl.transfer import Place, located

    machine, folder = _machine(ctx, pool, endpoint)
    lease = partial(pool.lease, machine, check)
    place = Place(endpoint.role, machine.name, lease, machine.is_local, partial(pool.lease, machine))
    home = ""
    if folder is None or endpoint.path.startswith("~"):
        with place.lease() as transport:
            home = transport.home()
    if folder is None and machine.is_local:
        folder = os.getcwd()
    try:
        return place, located(endpoint, folder or home, home, may_leave=machine.is_local or "/" not in endpoint.role)
    except ValueError as error:
        raise UsageError(f"{endpoint.role}: {error}") from None


def _machine(ctx: click.Context, pool: ConnectionPool, endpoint: Endpoint) -> tuple[Machine, str | None]:
    """The machine, and the folder of the experiment where one is named."""
    experiment, _, role = endpoint.role.rpartition("/")
    if not experiment:
        return with_all_machines(ctx).machine(role), None
    from wlmctl.runtime.lookup import experiment_folder

    with open_store(ctx) as db:
        return experiment_folder(with_all_machines(ctx), db, experiment, role, pool)


def _tell_plan(made: Plan, output: str) -> None:
    from wlmctl.text import shown

    rows: list[Mapping[str, Any]] = [
        {
            "source": item.place.shown(item.path),
            "destination": made.to.shown(item.target),
            "kind": item.info.kind,
            "size_bytes": item.info.size_bytes,
        }
        for item in made.items
    ]
    if output == "json":
        write_json({"files": made.files, "size_bytes": made.size_bytes, "items": rows})
        return
    for row in rows:
        size = f"{row['size_bytes']:,} bytes" if row["kind"] == "file" else row["kind"]
        write(f"{row['source']} -> {row['destination']} ({shown(str(size))})\n")
    write(f"{made.files} files, {made.size_bytes:,} bytes would be copied\n")


def _tell(summary: Summary, output: str) -> None:
    if output == "json":
        write_json(
            {
                "files": summary.files,
                "size_bytes": summary.size_bytes,
                "skipped": summary.skipped,
                "read_back": summary.read_back,
                "duration_s": round(summary.seconds, 3),
                "verify": str(summary.verify),
            }
        )
    else:
        write(f"{summary.told()}\n")
    sys.stdout.flush()
