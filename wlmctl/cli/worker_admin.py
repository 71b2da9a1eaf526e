"""``wlmctl worker list`` and ``drain``: the workers that the orchestrator knows, by the store."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from wlmctl.cli.common import Duration, local_time, note, open_store, output_option, rfc3339, table, write, write_json
from wlmctl.errors import ExitCode

if TYPE_CHECKING:
    from wlmctl.store.database import Database
    from wlmctl.store.workers import WorkerRow


@click.command("list")
@click.option("--all", "show_all", is_flag=True, help="Also those that ended in the last week.")
@output_option
@click.pass_context
def list_(ctx: click.Context, /, show_all: bool, output: str) -> None:
    """List the workers that are alive, with what they can do."""
    from wlmctl.store import workers
    from wlmctl.store.leases import ORCHESTRATOR, is_live

    with open_store(ctx) as db:
        found = [row for row in workers.rows(db) if show_all or row.is_live]
        if found and not is_live(db, ORCHESTRATOR):
            note("no orchestrator is running: this is what the last one knew")
    if output == "json":
        write_json({"workers": [_as_json(row) for row in found]})
        return
    table(("NAME", "STATE", "HOST", "SLOTS", "BUSY", "TYPES", "LABELS", "MACHINES", "SEEN"), map(_line, found))


@click.command(short_help="Have a worker finish what it has begun, and end.")
@click.argument("name")
@click.option("--wait", is_flag=True, help="Wait until it has ended.")
@click.option(
    "--timeout",
    "timeout_s",
    type=Duration(),
    metavar="TIME",
    help="With --wait: at most so long; then it ends with 124.",
)
@click.pass_context
def drain(ctx: click.Context, /, name: str, wait: bool, timeout_s: float | None) -> int:
    """Have a worker finish what it has begun, hand back the rest, and end. NAME: its name, id, or a beginning of it."""
    from wlmctl.store import workers
    from wlmctl.store.leases import ORCHESTRATOR, is_live

    with open_store(ctx) as db:
        row = workers.find(db, name)
        if not row.is_live:
            note(f"{row.id} is {row.state} already")
            return ExitCode.DONE
        with db.transaction():
            workers.drain(db, row.id)
        if is_live(db, ORCHESTRATOR):
            note(f"{row.id} finishes what it has begun, hands back the rest, and ends")
        else:
            note("no orchestrator is running: it is told when one is started (wlmctl orchestrator)")
        return _until_gone(db, row, timeout_s) if wait else ExitCode.DONE


def _until_gone(db: Database, row: WorkerRow, timeout_s: float | None) -> int:
    from wlmctl.cli.waiting import commits
    from wlmctl.store import workers

    for _ in commits(db, None if timeout_s is None else time.monotonic() + timeout_s):
        now = workers.get(db, row.id)
        if now is None or not now.is_live:
            write(f"{row.id} {now.state if now is not None else workers.GONE}\n")
            return ExitCode.DONE
    note(f"the time is up: {row.id} has not ended")
    return ExitCode.TIMEOUT


def _line(row: WorkerRow) -> tuple[object, ...]:
    said = row.details
    return (
        row.name,
        "drain asked" if row.drain and row.state == "alive" else row.state,
        said["host_name"],
        said["slots"],
        row.under_way,
        ",".join(said["types"]),
        ",".join(said["labels"]) or None,
        ",".join(said["machines"]),
        local_time(row.seen),
    )


def _as_json(row: WorkerRow) -> dict[str, Any]:
    said = row.details
    return {
        "id": row.id,
        "name": row.name,
        "state": row.state,
        "reason": row.reason,
        "host": said["host_name"],
        "user": said["user"],
        "pid": said["pid"],
        "slots": said["slots"],
        "under_way": row.under_way,
        "types": said["types"],
        "labels": said["labels"],
        "machines": said["machines"],
        "schemas": said["schemas"],
        "version": said["version"],
        "drain": bool(row.drain),
        "since": rfc3339(row.since),
        "seen": rfc3339(row.seen),
        "ended": rfc3339(row.ended),
    }
