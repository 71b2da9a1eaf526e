"""``wlmctl explain``: why a task stands where it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from wlmctl.cli.common import now_s, open_store, output_option, rfc3339, with_all_machines, write, write_json
from wlmctl.text import shown

if TYPE_CHECKING:
    from wlmctl.runtime.explaining.facts import ExpectedStart, Explanation, Fact


@click.command()
@click.argument("experiment", metavar="ID")
@click.argument("task", metavar="TASK")
@output_option
@click.pass_context
def explain(ctx: click.Context, /, experiment: str, task: str, output: str) -> None:
    """Say why TASK is in its state: the cause first, then what else the store knows.

    Reads the store and waits for nothing. Ends with 0 whatever the cause is.
    """
    from wlmctl.errors import UsageError
    from wlmctl.runtime.explaining import explain as explained
    from wlmctl.runtime.explaining.scene import Scene
    from wlmctl.runtime.lookup import tasks_named
    from wlmctl.store import experiments, inventory

    config = with_all_machines(ctx)
    with open_store(ctx) as db, db.snapshot():
        row = experiments.find(db, experiment)
        tasks = tasks_named(db, row, task)
        if len(tasks) > 1:
            raise UsageError(f"explain: {task} is {len(tasks)} tasks, expected one of them, such as {tasks[0].name}")
        counters = config.counters if row.origin == "run" else inventory.counters(db) or config.counters
        explanation = explained(Scene(db, config.machines, row, tasks[0], now_s(), counters))
    if output == "json":
        write_json(as_json(explanation))
    else:
        _show(explanation)


def as_json(found: Explanation) -> dict[str, Any]:
    """An explanation as ``-o json`` shows it."""
    why = _fact(found.why)
    return {
        "experiment": found.experiment,
        "task": found.task,
        "state": found.state,
        "why": why,
        "facts": [_fact(fact) for fact in found.facts],
        "expected_start": None if found.expected_start is None else _expected(found.expected_start),
    }


def _fact(fact: Fact) -> dict[str, Any]:
    from wlmctl.runtime.explaining.facts import TIMES

    figures: Mapping[str, Any] = {key: rfc3339(v) if key in TIMES else v for key, v in fact.figures.items()}
    return {"code": fact.code, "text": fact.text, **figures}


def _expected(expected: ExpectedStart) -> dict[str, Any]:
    from wlmctl.runtime.explaining.history import as_figures

    return {
        "earliest": rfc3339(expected.earliest_s),
        "median": rfc3339(expected.median_s),
        "latest": rfc3339(expected.latest_s),
        "basis": expected.basis,
        "waits": as_figures(expected.waits),
    }


def _show(found: Explanation) -> None:
    lines = [f"{found.experiment} {found.task}: {found.state}", f"why: {found.why.text}"]
    lines += [f"- {fact.text}" for fact in found.facts]
    if found.expected_start is not None:
        lines.append(f"- {_words(found.expected_start)}")
    write("".join(f"{shown(line)}\n" for line in lines))


def _words(expected: ExpectedStart) -> str:
    from wlmctl.runtime.explaining.facts import moment

    now = now_s()
    if expected.latest_s is None or expected.latest_s < now:
        return "expected start: it has waited for longer than any of them did"
    middle = "" if expected.median_s is None or expected.median_s < now else f"{moment(expected.median_s, now)}, "
    latest = moment(expected.latest_s, now)
    return f"expected start: {middle}by {latest} if it waits no longer than any of {expected.waits.count} before it"
