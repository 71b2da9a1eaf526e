"""Why a task stands where it does, from the store alone: one cause first, then what else is known.

Nothing is asked and nothing is waited for: no worker, no broker, no machine. What a scheduler has said comes from the
event log; everything else is derived from what is stored now, since a reason of an hour ago may hold no longer.
"""

from __future__ import annotations

from wlmctl.runtime.explaining import ended, history, standing, under_way
from wlmctl.runtime.explaining.facts import Explanation, Fact, Findings, stands
from wlmctl.runtime.explaining.scene import Scene
from wlmctl.states import FINAL, TaskState
from wlmctl.store import experiments

#: So far the needs of needs are followed.
MOST_LINKS = 20

_NOT_STARTED = frozenset({TaskState.WAITING, TaskState.READY})

#: Causes that no past tells the end of: somebody must do something first.
_LASTING = frozenset({"role", "held", "local", "no_worker", "worker", "declined"})


def explain(scene: Scene) -> Explanation:
    """Why the task is in its state."""
    findings = _found(scene)
    why, *others = findings.causes
    chain = _chain(scene, why) if why.code == "needs" else []
    for role, machine, size_bytes in scene.bound_near():
        text = f"the role {role} was bound to {machine}, where {size_bytes:,} bytes of what its tasks read had been put"
        findings.note("bound_near", text, role=role, machine=machine, data_bytes=size_bytes)
    expected = None
    if scene.task.state not in FINAL:
        past = history.past(scene)
        findings.notes += history.facts(past)
        if scene.task.state in _NOT_STARTED and why.code not in _LASTING:
            expected = history.expected_start(scene, past)
    return Explanation(
        scene.row.id, scene.task.name, scene.task.state, why, [*chain, *others, *findings.notes], expected
    )


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
        scene = scene.of(experiments.task(scene.db, scene.row.seq, idx))
        why = _found(scene).causes[0]
        text = f"{scene.task.name} {stands(scene.task.state)}: {why.text}"
        links.append(Fact("needed", text, {"task": scene.task.name, "state": scene.task.state, "why": why.code}))
    return links
