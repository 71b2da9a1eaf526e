"""A task that has not started: what stands before it, from the experiment as a whole to its own turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wlmctl.experiment.model import Need
from wlmctl.runtime.explaining import turn
from wlmctl.runtime.explaining.facts import Findings, listed, moment, stands
from wlmctl.runtime.explaining.scene import Scene
from wlmctl.states import FINAL, ExperimentState, TaskState


def look(scene: Scene) -> Findings:
    """Why it has not started; there is at least one cause."""
    found = Findings()
    _experiment(scene, found)
    if scene.task.state == TaskState.READY:
        turn.look(scene, found)
    else:
        _stopping(scene, found)
        _needs(scene, found)
        _delay(scene, found)
    if not found.causes:
        found.cause("next", "nothing holds it up: it moves on at the next look of whoever works on the experiment")
    return found


def _experiment(scene: Scene, found: Findings) -> None:
    """What keeps all tasks of the experiment from starting."""
    row = scene.row
    if row.state == ExperimentState.PAUSED:
        last = next((event for event in scene.of_experiment if event.target == ExperimentState.PAUSED), None)
        said = f": {last.reason}, {moment(last.time, scene.now_s)}" if last is not None else ""
        since = {"since": last.time} if last is not None else {}
        found.cause("paused", f"the experiment is paused{said} (wlmctl resume {row.id})", **since)
    if row.start_due is not None and (row.state == ExperimentState.SCHEDULED or row.start_due > scene.now_s):
        found.cause("start", f"the experiment starts at {moment(row.start_due, scene.now_s)}", at=row.start_due)
    if (text := nobody(scene)) is not None:
        found.cause(*text)
    declined = next((event for event in scene.of_experiment if event.kind == "declined"), None)
    if declined is not None and not any(event.n > declined.n for event in scene.events if event.kind == "task"):
        found.cause("declined", f"the orchestrator says that {declined.reason}", at=declined.time)


def nobody(scene: Scene) -> tuple[str, str] | None:
    """The code and what to do where no process works on the experiment."""
    if scene.holder is not None:
        return None
    if scene.row.origin == "run":
        return "no_process", f"no process works on the experiment: wlmctl resume {scene.row.id} goes on"
    return "no_orchestrator", "no orchestrator is running: start one with wlmctl orchestrator"


def _stopping(scene: Scene, found: Findings) -> None:
    if scene.row.stopping:
        found.cause("stopping", "on_failure: stop, and a task has failed: it will be skipped")


def _delay(scene: Scene, found: Findings) -> None:
    """Another attempt waits for its time."""
    task = scene.task
    if task.due is None:
        return
    if task.due <= scene.now_s:
        found.note("retry_delay", f"its retry delay has ended at {moment(task.due, scene.now_s)}", at=task.due)
        return
    when = moment(task.due, scene.now_s)
    put_off = next((event for event in reversed(scene.events) if event.target == TaskState.WAITING), None)
    if put_off is not None and "attempt" not in put_off.values:
        found.cause("put_off", f"it is offered to workers again at {when}: {task.reason}", at=task.due)
        return
    failure = f" ({task.failure_class})" if task.failure_class else ""
    text = f"attempt {task.attempt} starts at {when}: attempt {task.attempt - 1} failed{failure}: {task.reason}"
    found.cause("retry_delay", text, at=task.due, attempt=task.attempt, failure_class=task.failure_class)


# what it needs


@dataclass(frozen=True, slots=True)
class Needed:
    """One instance that a need is about."""

    idx: int
    name: str
    state: TaskState


def needed(scene: Scene, need: Need) -> list[Needed]:
    """The instances that a need of the task is about."""
    numbers = {template.name: number for number, template in enumerate(scene.experiment.templates)}
    sql, values = "SELECT idx, name, state FROM tasks WHERE exp = ? AND template = ?", [scene.row.seq]
    values.append(numbers[need.task])
    if need.which != "all":
        sql += " AND position = ?"
        values.append(scene.task.position if need.which == "same" else need.which)
    return [Needed(idx, name, TaskState(state)) for idx, name, state in scene.db.rows(f"{sql} ORDER BY idx", values)]


def _unmet(scene: Scene) -> Iterator[tuple[Need, list[Needed], list[Needed]]]:
    """Each need that is not met: all it is about, and those that are missing, open ones first."""
    for need in scene.template.needs:
        partners = needed(scene, need)
        good = {TaskState.SUCCEEDED} if need.how == "succeeded" else FINAL - {TaskState.CANCELLED}
        missing = [each for each in partners if each.state not in good]
        if missing:
            yield need, partners, sorted(missing, key=lambda each: each.state in FINAL)


def first_open(scene: Scene) -> int | None:
    """The task that it needs and that has not ended: the one that is furthest, of several."""
    rank = {TaskState.WAITING: 2, TaskState.READY: 1}
    waited_for = [each for _, _, missing in _unmet(scene) for each in missing if each.state not in FINAL]
    first = min(waited_for, key=lambda each: (rank.get(each.state, 0), each.idx), default=None)
    return None if first is None else first.idx


def _needs(scene: Scene, found: Findings) -> None:
    """Tasks that it needs and that have not ended, or will not end as they should."""
    texts, names, lost = list[str](), list[str](), False
    for need, partners, missing in _unmet(scene):
        lost = lost or any(each.state in FINAL for each in missing)
        names += [each.name for each in missing]
        to = "to have succeeded" if need.how == "succeeded" else "to have ended"
        if len(partners) == 1:
            texts.append(f"it needs {missing[0].name} {to}, which {stands(missing[0].state)}")
        else:
            those = listed(f"{each.name} ({each.state})" for each in missing)
            texts.append(f"it needs all {len(partners)} of {need.task} {to}: {len(missing)} have not: {those}")
    if texts:
        end = "; so it will be skipped" if lost else ""
        found.cause("needs", "; ".join(texts) + end, tasks=names[:100], count=len(names))
