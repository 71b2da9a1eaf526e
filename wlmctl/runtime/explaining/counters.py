"""Counters that all machines share, such as licences: what a task takes, what is left, and who has the rest."""

from __future__ import annotations

import json

from wlmctl.runtime.explaining.facts import MOST_LISTED, MOST_NAMED, Findings, listed
from wlmctl.runtime.explaining.scene import Scene


def look(scene: Scene, found: Findings) -> None:
    """A counter of the task has too little left."""
    wanted = {name: amount for name, amount in scene.instance.counters if name in scene.counters}
    if not wanted:
        return
    rows = scene.db.rows(
        "SELECT e.id, t.name, t.counters FROM tasks t JOIN experiments e ON e.seq = t.exp"
        " WHERE t.counters IS NOT NULL ORDER BY e.seq, t.idx"
    )
    taken = [(experiment, task, json.loads(text)) for experiment, task, text in rows]
    for name, amount in wanted.items():
        holders = [(experiment, task, has[name]) for experiment, task, has in taken if name in has]
        there = scene.counters[name]
        left = max(0, there - sum(count for *_, count in holders))
        if left >= amount:
            continue
        own = scene.row.id
        words = [task if experiment == own else f"{experiment} {task}" for experiment, task, _ in holders[:MOST_NAMED]]
        who = f"; taken by {listed(words, len(holders))}" if holders else ""
        found.cause(
            "counter", f"it takes {amount} of the counter {name}: {left} of {there} are left{who}",
            counter=name, wanted=amount, left=left, total=there,
            holders=[{"experiment": of, "task": task, "amount": has} for of, task, has in holders[:MOST_LISTED]],
        )  # fmt: skip
