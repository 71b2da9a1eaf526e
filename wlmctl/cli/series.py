"""What ``wlmctl status`` shows of series: a table of them, one with its experiments, and the same as JSON."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from wlmctl.cli.common import local_time, rfc3339, table, write
from wlmctl.cli.log_pieces import text_of

if TYPE_CHECKING:
    from wlmctl.store.database import Database
    from wlmctl.store.rows import ExperimentRow
    from wlmctl.store.series import SeriesRow


def as_json(db: Database, row: SeriesRow) -> dict[str, Any]:
    """One series as ``-o json`` shows it; its experiments by their ids, newest first."""
    from wlmctl.store.series import experiments_of, waiting

    return {
        "id": row.id,
        "name": row.name,
        "state": row.state,
        "note": row.note,
        "cron": row.cron,
        "timezone": row.timezone,
        "catchup": bool(row.catchup),
        "overlap": row.overlap,
        "next_due": rfc3339(row.next_due) if row.state == "active" else None,
        "waiting": [rfc3339(due) for due in waiting(db, row.id)],
        "made": row.made,
        "skipped": row.skipped,
        "labels": row.label_list,
        "created": rfc3339(row.created),
        "ended": rfc3339(row.ended),
        "user": row.owner,
        "host": row.host_name,
        "folder": text_of(os.fsencode(row.folder)),
        "experiments": [each.id for each in experiments_of(db, row.id)],
    }


def members(db: Database, many: Sequence[SeriesRow], rows: Sequence[ExperimentRow]) -> list[ExperimentRow]:
    """The experiments of these series that are not among ``rows``."""
    from wlmctl.store.series import experiments_of

    known = {row.seq for row in rows}
    return [row for each in many for row in experiments_of(db, each.id) if row.seq not in known]


def write_facts(db: Database, row: SeriesRow) -> None:
    """What there is to say of one series, as lines for people."""
    write(f"{row.id}\n")
    for key, value in _facts(db, row):
        write(f"  {key + ':':<10}{value}\n")
    write("\n")


def write_table(many: Sequence[SeriesRow]) -> None:
    """These series, a line each."""
    table(
        ("SERIES", "STATE", "MADE", "NEXT DUE", "SCHEDULE", "LABELS"),
        [
            (
                row.id,
                row.state,
                row.made,
                local_time(row.next_due if row.state == "active" else None),
                f"{row.cron} {row.timezone}",
                ",".join(row.label_list) or "-",
            )
            for row in many
        ],
    )


def _facts(db: Database, row: SeriesRow) -> Iterator[tuple[str, object]]:
    from wlmctl.store.leases import ORCHESTRATOR, is_live
    from wlmctl.store.series import waiting

    yield "state", row.state
    yield "schedule", f"{row.cron} in {row.timezone}, overlap: {row.overlap}{', catchup' if row.catchup else ''}"
    if row.state == "active" and row.next_due is not None:
        yield "next due", local_time(row.next_due)
    waits = len(waiting(db, row.id))
    counts = f"{row.made} made", f"{waits} waiting" * bool(waits), f"{row.skipped} skipped" * bool(row.skipped)
    yield "so far", ", ".join(filter(None, counts))
    if row.labels != "[]":
        yield "labels", ", ".join(row.label_list)
    yield "created", f"{local_time(row.created)} by {row.owner} on {row.host_name}"
    if row.ended is not None:
        yield "ended", local_time(row.ended)
    if row.note:
        yield "last", row.note
    if not row.is_final and not is_live(db, ORCHESTRATOR):
        yield "note", "no orchestrator is running: start one with wlmctl orchestrator"
