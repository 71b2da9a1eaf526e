"""``wlmctl events``: the append-only log of an experiment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from wlmctl.cli.common import local_time, open_store, output_option, rfc3339, write, write_line
from wlmctl.text import shown

if TYPE_CHECKING:
    from wlmctl.store.database import Database
    from wlmctl.store.rows import EventRow, ExperimentRow

#: Fields of an event that are times, and those never shown: a nonce is what lets a result in.
_TIMES = frozenset({"started", "ended", "due", "start_due", "created"})
_SECRET = frozenset({"nonce"})


@click.command()
@click.argument("experiment", metavar="ID")
@click.argument("task", metavar="[TASK]", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the experiment has ended.")
@output_option
@click.pass_context
def events(ctx: click.Context, /, experiment: str, task: str | None, follow: bool, output: str) -> None:
    """Show everything that happened to the experiment, or to one of its tasks, in order.

    With -o json one object a line.
    """
    from wlmctl.cli.waiting import FINAL, commits
    from wlmctl.store import experiments

    with open_store(ctx) as db:
        row = experiments.find(db, experiment)
        only = _positions(db, row, task)
        names: dict[int, str] = {}
        last = _show(db, row, 0, only, names, output)
        if not follow:
            return
        for _ in commits(db):
            now = experiments.get(db, row.seq)
            last = _show(db, row, last, only, names, output)
            if now is None or now.state in FINAL:
                return


def _positions(db: Database, row: ExperimentRow, task: str | None) -> set[int] | None:
    if task is None:
        return None
    from wlmctl.runtime.lookup import tasks_named

    return {found.idx for found in tasks_named(db, row, task)}


def _show(
    db: Database, row: ExperimentRow, after: int, only: set[int] | None, names: dict[int, str], output: str
) -> int:
    """Show the events with a number above ``after``; returns the last number."""
    from wlmctl.store.events import events as events_after

    if not names:
        names.update(db.rows("SELECT idx, name FROM tasks WHERE exp = ?", (row.seq,)))
    for event in events_after(db, row.seq, after=after):
        after = event.n
        if only is not None and event.task not in only:
            continue
        name = None if event.task is None else names.get(event.task)
        if output == "json":
            write_line(as_json(row.id, name, event))
        else:
            write(_line(name, event), flush=True)
    return after


def as_json(experiment: str, task: str | None, event: EventRow) -> dict[str, Any]:
    """One event as an object."""
    return {
        "version": 1,
        "experiment": experiment,
        "n": event.n,
        "time": rfc3339(event.time),
        "task": task,
        "kind": event.kind,
        "from": event.source,
        "to": event.target,
        "reason": event.reason,
        "data": {
            key: rfc3339(value) if key in _TIMES else _plain(value)
            for key, value in event.values.items()
            if key not in _SECRET
        },
    }


def _plain(value: Any) -> Any:
    """Columns that hold JSON, as values."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _how_far(event: EventRow) -> str:
    from wlmctl.cli.how_far import how_far

    said = event.values
    return how_far(
        said["bytes_done"], said["bytes_total"], said["files_done"], said["files_total"], said["rate_bytes_s"],
        said["left_s"],
    )  # fmt: skip


def _line(task: str | None, event: EventRow) -> str:
    what = event.kind if event.target is None else f"{event.source or '-'} -> {event.target}"
    reason = f"  ({shown(event.reason)})" if event.reason else ""
    if event.kind == "progress":
        reason = f"  ({shown(' '.join(filter(None, (event.reason, _how_far(event)))))})"
    if event.kind == "held":  # by a user: who and why, not what
        machine = f"machine {event.values['machine']}: "
        reason = f"  ({machine}{shown((event.reason or '').removeprefix(machine))})"
    if event.kind == "priority":
        reason = f"  ({event.values['priority']})"
    return f"{event.n:>6}  {local_time(event.time)}  {task or '-':<20}  {what}{reason}\n"
