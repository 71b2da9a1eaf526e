"""A task that has not started: what stands before it, from the experiment as a whole to its own turn."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from wlmctl.experiment.model import Need
from wlmctl.runtime.explaining import room, turn
from wlmctl.runtime.explaining.facts import MOST_LISTED, Findings, listed, moment, stands
from wlmctl.runtime.explaining.scene import Scene
from wlmctl.states import FINAL, ExperimentState, TaskState


def look(scene: Scene) -> Findings:
    """Why it has not started; there is at least one cause."""
    found = Findings()
    _experiment(scene, found)
    if scene.task.state == TaskState.READY:
        turn.look(scene, found)
        room.commands(scene, found, is_cause=not found.causes)
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


@dataclass(frozen=True, slots=True)
class Unmet:
    """A need that is not met: how many instances it is about, how many are missing, and the first of those.

    Those under way come first, then those that are ready, that wait, and that will not end as they should.
    """

    need: Need
    total: int
    missing: int
    is_lost: bool
    first: Sequence[Needed]


def missing(scene: Scene, need: Need, states: Collection[TaskState]) -> Unmet:
    """The instances that a need of the task is about, and those of them that are in one of these states."""
    number = next(n for n, template in enumerate(scene.experiment.templates) if template.name == need.task)
    where, values = "exp = ? AND template = ?", [scene.row.seq, number]
    if need.which != "all":
        where += " AND position = ?"
        values.append(scene.task.position if need.which == "same" else need.which)
    counts: dict[str, int] = dict(
        scene.db.rows(f"SELECT state, count(*) FROM tasks WHERE {where} GROUP BY state", values)
    )
    wanted = sorted(state.value for state in states)
    rows = scene.db.rows(
        f"SELECT idx, name, state FROM tasks WHERE {where} AND state IN ({', '.join('?' * len(wanted))}) ORDER BY"
        " CASE state WHEN 'ready' THEN 1 WHEN 'waiting' THEN 2 WHEN 'skipped' THEN 4 WHEN 'failed' THEN 3"
        f" WHEN 'cancelled' THEN 3 ELSE 0 END, idx LIMIT {MOST_LISTED}",
        (*values, *wanted),
    )
    first = [Needed(idx, name, TaskState(state)) for idx, name, state in rows]
    is_lost = any(counts.get(state, 0) for state in states if state in FINAL)
    return Unmet(need, sum(counts.values()), sum(counts.get(state, 0) for state in wanted), is_lost, first)


def _unmet(scene: Scene) -> list[Unmet]:
    found = list[Unmet]()
    for need in scene.template.needs:
        good = {TaskState.SUCCEEDED} if need.how == "succeeded" else FINAL - {TaskState.CANCELLED}
        found.append(missing(scene, need, set(TaskState) - good))
    return [each for each in found if each.missing]


def first_open(scene: Scene) -> int | None:
    """The task that it needs and that has not ended: the one that is furthest, of several."""
    firsts = [each.first[0] for each in _unmet(scene) if each.first[0].state not in FINAL]
    rank = {TaskState.WAITING: 2, TaskState.READY: 1}
    return min(firsts, key=lambda each: (rank.get(each.state, 0), each.idx)).idx if firsts else None


def _needs(scene: Scene, found: Findings) -> None:
    """Tasks that it needs and that have not ended, or will not end as they should."""
    unmet = _unmet(scene)
    if not unmet:
        return
    texts = list[str]()
    for each in unmet:
        to = "to have succeeded" if each.need.how == "succeeded" else "to have ended"
        if each.total == 1:
            texts.append(f"it needs {each.first[0].name} {to}, which {stands(each.first[0].state)}")
        else:
            those = listed((f"{one.name} ({one.state})" for one in each.first), each.missing)
            texts.append(f"it needs all {each.total} of {each.need.task} {to}: {each.missing} have not: {those}")
    end = "; so it will be skipped" if any(each.is_lost for each in unmet) else ""
    names = [one.name for each in unmet for one in each.first]
    found.cause("needs", "; ".join(texts) + end, tasks=names, count=sum(each.missing for each in unmet))
