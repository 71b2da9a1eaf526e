"""``wlmctl status``: the experiments of the store, or one of them with its tasks."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from wlmctl.cli.common import local_time, now_s, open_store, output_option, rfc3339, table, write, write_json
from wlmctl.cli.log_pieces import text_of
from wlmctl.cli.selection import Selection, chosen_with_series, selection_options
from wlmctl.cli.series import as_json as series_as_json
from wlmctl.cli.series import members, write_facts, write_table
from wlmctl.machine import LOCAL
from wlmctl.text import shown

if TYPE_CHECKING:
    from wlmctl.store.database import Database
    from wlmctl.store.machines import Hold
    from wlmctl.store.progress import ProgressRow
    from wlmctl.store.rows import ExperimentRow
    from wlmctl.store.series import SeriesRow

_FINAL = ("succeeded", "failed", "cancelled")


@click.command()
@selection_options
@click.option("-q", "--quiet", is_flag=True, help="Print ids only.")
@click.option("--all", "show_all", is_flag=True, help="List every instance of large groups.")
@output_option
@click.pass_context
def status(ctx: click.Context, /, selection: Selection, quiet: bool, show_all: bool, output: str) -> None:
    """List experiments, newest first, or show the one with this ID and its tasks, or a series with its experiments.

    With -o json experiments named by their ids come with all their tasks. Ends with 0 whatever the state is (see:
    wlmctl wait).
    """
    from wlmctl.store.series import going_on

    with open_store(ctx) as db:
        rows, many = chosen_with_series(db, selection, everything=True)
        if quiet:
            write("".join(f"{row.id}\n" for row in [*rows, *members(db, many, rows)]))
        elif output == "json" and selection.ids:
            write_with_tasks(db, rows, many)
        elif len(selection.ids) == 1 and not selection.from_stdin:
            if many:
                write_facts(db, many[0])
                _list(db, members(db, many, rows), [], output)
            else:
                _show(db, rows[0], show_all)
        else:
            _list(db, rows, going_on(db) if selection.is_empty else many, output)


def as_json(row: ExperimentRow, counts: Mapping[str, int]) -> dict[str, Any]:
    """One experiment as ``-o json`` shows it."""
    return {
        "id": row.id,
        "name": row.name,
        "project": row.project,
        "state": row.state,
        "reason": row.reason,
        "priority": row.priority,
        "labels": row.label_list,
        "created": rfc3339(row.created),
        "started": rfc3339(row.started),
        "ended": rfc3339(row.ended),
        "start_due": rfc3339(row.start_due),
        "user": row.user,
        "host": row.host_name,
        "folder": text_of(os.fsencode(row.folder)),
        "local_on": row.local_on,
        "origin": row.origin,
        "series": row.id.rpartition(".")[0] or None,
        "task_count": row.task_count,
        "tasks_by_state": dict(counts),
    }


def write_with_tasks(db: Database, rows: Sequence[ExperimentRow], many: Sequence[SeriesRow]) -> None:
    """Experiments with all their tasks as one JSON document, a task a line, straight from the store.

    Those of the series come without their tasks.
    """
    from wlmctl.cli.machine_hold import held_as_json
    from wlmctl.store.experiments import counts
    from wlmctl.store.listing import counts_of_all, tasks_json

    write('{"version": 1, "experiments": [')
    for number, row in enumerate(rows):
        held = {name: held_as_json(hold) for name, hold in held_machines(db, row).items()}
        head = json.dumps({**as_json(row, counts(db, row.seq)), "held": held})
        write((",\n" if number else "") + head[:-1] + ', "tasks": [\n')
        write(",\n".join(tasks_json(db, row.seq)))
        write("\n]}")
    more = members(db, many, rows)
    of_all = counts_of_all(db, [row.seq for row in more])
    for number, row in enumerate(more, len(rows)):
        write((",\n" if number else "") + json.dumps(as_json(row, of_all[row.seq])))
    write(f'], "series": {json.dumps([series_as_json(db, each) for each in many])}}}\n')


def _list(db: Database, rows: Sequence[ExperimentRow], many: Sequence[SeriesRow], output: str) -> None:
    from wlmctl.store.listing import counts_of_all

    counts = counts_of_all(db, [row.seq for row in rows])
    if output == "json":
        found = [as_json(row, counts[row.seq]) for row in rows]
        write_json({"experiments": found, "series": [series_as_json(db, each) for each in many]})
        return
    if rows or (sys.stdout.isatty() and not many):
        table(
            ("ID", "STATE", "TASKS", "PRIORITY", "CREATED", "LABELS"),
            [
                (
                    row.id,
                    row.state,
                    f"{counts[row.seq].get('succeeded', 0)}/{row.task_count}",
                    row.priority,
                    local_time(row.created),
                    ",".join(row.label_list) or "-",
                )
                for row in rows
            ],
        )
    if many:
        write("\n" if rows else "")
        write_table(many)


def _show(db: Database, row: ExperimentRow, show_all: bool) -> None:
    from wlmctl.store.experiments import bindings, counts

    by_state = ", ".join(f"{count} {state}" for state, count in sorted(counts(db, row.seq).items()))
    facts = {
        "state": row.state + (f": {row.reason}" if row.reason else ""),
        "tasks": f"{row.task_count}: {by_state}",
        "priority": row.priority,
        "project": row.project,
        "labels": ", ".join(row.label_list),
        "created": f"{local_time(row.created)} by {row.user} on {row.host_name} ({row.origin})",
        "starts": local_time(row.start_due) if row.state == "scheduled" else None,
        "started": local_time(row.started) if row.started else None,
        "ended": local_time(row.ended) if row.ended else None,
        "local": _local(db, row),
        "machines": ", ".join(
            f"{role}: {machine}" for role, machine in sorted(bindings(db, row.seq).items()) if role != LOCAL
        ),
        "held": "; ".join(f"{name}: {shown(hold.text)}" for name, hold in held_machines(db, row).items()),
        "waits": _waits(db, row),
        "note": _nobody_works(db, row),
    }
    write(f"{row.id}\n")
    for key, value in facts.items():
        if value not in (None, ""):
            write(f"  {key + ':':<10}{value}\n")
    write("\n")
    from wlmctl.store.workers import rows as workers

    names = {worker.id: worker.name for worker in workers(db)}
    columns = ["TASK", "TYPE", "STATE", "MACHINE", "WORKER", "ATTEMPT", "TIME", "REASON"]
    lines = _task_lines(db, row, show_all, names)
    if not names:  # no fleet: there is one worker, in the process that leads
        columns.remove("WORKER")
        lines = ((*line[:4], *line[5:]) for line in lines)
    table(columns, lines)


def _task_lines(
    db: Database, row: ExperimentRow, show_all: bool, names: Mapping[str, str]
) -> Iterator[tuple[object, ...]]:
    from wlmctl.experiment.raising import told
    from wlmctl.quantities import format_duration
    from wlmctl.store import listing, progress
    from wlmctl.store.experiments import tasks
    from wlmctl.task import Resources

    steps = {step.task: step for step in progress.of_experiments(db, [row.seq])}
    lines = dict[int, list[tuple[object, ...]]]()
    folded = set[int]()
    groups = listing.groups(db, row.seq)
    for template, first, kind, count in groups:
        if count > listing.FOLD_ABOVE and not show_all:
            folded.add(template)
            name = f"{first.partition('[')[0]} ({count})"
            lines[template] = [
                (name, kind, f"{number} {state}", None, None, None, None, reason)
                for state, number, reason in listing.states_of_group(db, row.seq, template)
            ]
    for task in tasks(db, row.seq) if len(folded) < len(groups) else ():
        if task.template in folded:
            continue
        end_s = task.ended if task.ended is not None else now_s()
        lasted = format_duration(end_s - task.started) if task.started is not None else None
        worker = names.get(task.worker, task.worker) if task.worker else None
        reason = _progress(steps[task.idx]) if task.reason is None and task.idx in steps else task.reason
        if reason is None and (changed := task.changed_resources):
            reason = f"asks for {told(Resources(**changed), changed)} since a retry"
        line = (task.name, task.type, task.state, task.machine, worker, task.attempt or None, lasted, reason)
        lines.setdefault(task.template, []).append(line)
    for template in sorted(lines):
        yield from lines[template]


def _progress(step: ProgressRow) -> str:
    """How far a step is."""
    from wlmctl.cli.how_far import how_far

    text = how_far(
        step.bytes_done, step.bytes_total, step.files_done, step.files_total, step.rate_bytes_s, step.left_s,
        resumed_bytes=step.resumed_bytes, skipped=step.skipped,
    )  # fmt: skip
    return f"{shown(step.what)} {text}".strip()


def _local(db: Database, row: ExperimentRow) -> str:
    """Where ``local`` is, when the submit has said it."""
    from wlmctl.runtime.lookup import host_of_local

    if row.local_on is None:
        return ""
    found = host_of_local(db, row)
    return f"on {row.local_on}: host {found[1]}" if found is not None else f"on {row.local_on}"


def held_machines(db: Database, row: ExperimentRow) -> dict[str, Hold]:
    """The held machines that the experiment has to do with, in the order of their names."""
    from wlmctl.store.listing import told_machines
    from wlmctl.store.machines import holds, machines_touched

    held = {} if row.state in _FINAL else holds(db)
    if not held:
        return {}
    concerned = {*machines_touched(db, row.seq), *told_machines(db, row.seq)}
    return {name: hold for name, hold in sorted(held.items()) if name in concerned}


def _waits(db: Database, row: ExperimentRow) -> str:
    from wlmctl.store.listing import reasons_to_wait

    if row.state in _FINAL:
        return ""
    return "; ".join(f"{name}: {reason}" for name, reason in reasons_to_wait(db, row.seq))


def _nobody_works(db: Database, row: ExperimentRow) -> str:
    """What to do when no process works on an experiment that has not ended."""
    from wlmctl.store.leases import ORCHESTRATOR, experiment_lease, is_live

    if row.state in _FINAL:
        return ""
    if row.origin == "run":
        live = is_live(db, experiment_lease(row.seq))
        return "" if live else f"no process works on it: wlmctl resume {row.id} goes on"
    if not is_live(db, ORCHESTRATOR):
        return "no orchestrator is running: start one with wlmctl orchestrator"
    from wlmctl.runtime.who_works import lacks_workers

    return "no worker is live: start one with wlmctl worker" if lacks_workers(db) else ""
