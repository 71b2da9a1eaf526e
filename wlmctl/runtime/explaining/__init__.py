"""Why a task stands where it does, from the store alone: one cause first, then what else is known.

Nothing is asked and nothing is waited for: no worker, no broker, no machine. What a scheduler has said comes from the
event log; everything else is derived from what is stored now, since a reason of an hour ago may hold no longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from wlmctl.machine import Machine
from wlmctl.runtime.explaining import ended, history, standing, under_way
from wlmctl.runtime.explaining.facts import Explanation, Fact, Findings, stands
from wlmctl.runtime.explaining.scene import Scene
from wlmctl.states import FINAL, TaskState
from wlmctl.store import experiments

if TYPE_CHECKING:
    from wlmctl.store import Database
    from wlmctl.store.rows import ExperimentRow, TaskRow

#: So far the needs of needs are followed.
MOST_LINKS = 20

_NOT_STARTED = frozenset({TaskState.WAITING, TaskState.READY})


def explain(
    db: Database, machines: Mapping[str, Machine], row: ExperimentRow, task: TaskRow, now_s: float
) -> Explanation:
    """Why the task is in its state. ``machines`` are those that the orchestrator counts on."""
    scene = Scene(db, machines, row, task, now_s)
    findings = _found(scene)
    why, *others = findings.causes
    chain = _chain(scene, why) if why.code == "needs" else []
    expected = None
    if task.state in _NOT_STARTED:
        past = history.past(scene)
        expected = history.expected_start(scene, past)
        findings.notes += history.facts(past)
    elif task.state not in FINAL:
        findings.notes += history.facts(history.past(scene))
    return Explanation(row.id, task.name, task.state, why, [*chain, *others, *findings.notes], expected)


def _found(scene: Scene) -> Findings:
    state = TaskState(scene.task.state)
    if state in FINAL:
        return ended.look(scene)
    return standing.look(scene) if state in _NOT_STARTED else under_way.look(scene)


def _chain(scene: Scene, why: Fact) -> list[Fact]:
    """What the tasks stand at that keep this one, and the tasks that keep those, down to one that needs nothing."""
    links, seen = list[Fact](), {scene.task.idx}
    while why.code == "needs" and len(links) < MOST_LINKS:
        idx = standing.first_open(scene)
        if idx is None or idx in seen:
            break
        seen.add(idx)
        scene = Scene(scene.db, scene.machines, scene.row, experiments.task(scene.db, scene.row.seq, idx), scene.now_s)
        why = _found(scene).causes[0]
        text = f"{scene.task.name} {stands(scene.task.state)}: {why.text}"
        links.append(Fact("needed", text, {"task": scene.task.name, "state": scene.task.state, "why": why.code}))
    return links
