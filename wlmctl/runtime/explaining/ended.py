"""A task that has ended: how, by which event, and for one that never ran the task whose end was its end."""

from __future__ import annotations

from typing import Any

from wlmctl.experiment.model import Retry
from wlmctl.orchestrator.ending import INFRA_LIMIT
from wlmctl.orchestrator.poison import QUARANTINE
from wlmctl.quantities import format_duration
from wlmctl.runtime.explaining import standing
from wlmctl.runtime.explaining.facts import Findings, listed, moment, stands
from wlmctl.runtime.explaining.scene import Scene
from wlmctl.states import TaskState
from wlmctl.store import experiments
from wlmctl.text import counted

_INFRA = frozenset({"infra", "preempted"})
_LOST = frozenset({TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED})


def look(scene: Scene) -> Findings:
    """How it ended; there is exactly one cause."""
    found = Findings()
    match TaskState(scene.task.state):
        case TaskState.SUCCEEDED:
            found.cause("succeeded", f"it succeeded{_end(scene)}{_course(scene)}", **_figures(scene))
        case TaskState.FAILED:
            failure = scene.task.failure_class
            of_class = f" ({failure})" if failure else ""
            text = f"it failed{_end(scene)}{_course(scene)}: {scene.task.reason}{of_class}"
            found.cause("failed", text, failure_class=failure, exit_code=scene.task.exit_code, **_figures(scene))
            _no_more(scene, found)
        case TaskState.CANCELLED:
            found.cause("cancelled", f"{_cancelled(scene)}{_end(scene)}", **_figures(scene))
        case _:
            found.cause("skipped", f"it was skipped{_end(scene)}: {scene.task.reason}", **_figures(scene))
            _culprits(scene, found)
    _event(scene, found)
    return found


def _end(scene: Scene) -> str:
    return f" at {moment(scene.task.ended, scene.now_s)}" if scene.task.ended is not None else ""


def _cancelled(scene: Scene) -> str:
    """Who did it: a task that ran says no more than that its work was ended."""
    reason = scene.task.reason or "cancelled"
    return scene.cancelled_by or reason if reason == "cancelled" else reason


def _course(scene: Scene) -> str:
    """Which attempt that was, where, and how long it took."""
    task = scene.task
    on = f" on machine {task.machine}" if task.machine else ""
    lasted = task.started is not None and task.ended is not None
    took = f" after {format_duration(task.ended - task.started)}" if lasted else ""  # type: ignore[operator]
    return f", in attempt {task.attempt}{on}{took}" if task.attempt else ""


def _figures(scene: Scene) -> dict[str, Any]:
    task = scene.task
    return {"ended": task.ended, "attempt": task.attempt or None, "machine": task.machine, "worker": task.worker}


def _event(scene: Scene, found: Findings) -> None:
    """The event that says so."""
    last = next((event for event in reversed(scene.events) if event.target == scene.task.state), None)
    if last is not None:
        change = f"{last.source or '-'} -> {last.target}"
        found.note("event", f"event {last.n} of the experiment: {change}", n=last.n, at=last.time)


def _no_more(scene: Scene, found: Findings) -> None:
    """Why no other attempt followed."""
    task, retry = scene.task, scene.instance.retry
    if not task.attempt:
        return
    if task.kills >= QUARANTINE:
        text = "no other attempt: a task that kills its workers is not tried again by itself"
        found.note("no_retry", text, kills=task.kills)
    elif task.failure_class in _INFRA:
        text = f"it was tried again {counted(INFRA_LIMIT, 'time')} after failures of the infrastructure: no more"
        if task.infra_failures <= INFRA_LIMIT:
            text = "its experiment was stopping"
        found.note("no_retry", text, infra_failures=task.infra_failures)
    elif scene.row.stopping and retry is not None and task.user_failures <= retry.limit:
        found.note("no_retry", "on_failure: stop lets nothing be tried again after a failure")
    else:
        found.note("no_retry", _rule(retry, str(task.failure_class), task.user_failures))


def _rule(retry: Retry | None, failure: str, failures: int) -> str:
    if retry is None or not retry.limit:
        return "no other attempt: the file sets no retry for it"
    if failure not in retry.on:
        return f"no other attempt: its retry is for {', '.join(retry.on)}, not for {failure}"
    if failures <= retry.limit:
        return "no other attempt: its machine has no more of what its retry asks for"
    return f"no other attempt: it has failed {counted(failures, 'time')}, and retry.limit is {retry.limit}"


def _culprits(scene: Scene, found: Findings) -> None:
    """The tasks whose end was its end, back to those that ran."""
    if scene.row.stopping:
        first = scene.db.row(
            "SELECT task, n, reason FROM events WHERE exp = ? AND kind = 'task' AND target = 'failed'"
            " ORDER BY n LIMIT 1",
            (scene.row.seq,),
        )
        if first is not None:
            name = experiments.task(scene.db, scene.row.seq, first[0]).name
            found.note("needed", f"{name} failed first, event {first[1]}: {first[2]}", task=name, n=first[1])
        return
    seen = {scene.task.idx}
    while True:
        lost = [
            each
            for need in scene.template.needs
            for each in standing.missing(scene, need, _LOST).first
            if each.idx not in seen
        ]
        if not lost:
            return
        first_lost = min(lost, key=lambda each: each.state is TaskState.SKIPPED)
        seen.add(first_lost.idx)
        row = experiments.task(scene.db, scene.row.seq, first_lost.idx)
        more = f"; also {listed(each.name for each in lost if each is not first_lost)}" if len(lost) > 1 else ""
        text = f"{scene.task.name} needs {row.name}, which {stands(row.state)}: {row.reason}{more}"
        found.note("needed", text, task=row.name, state=row.state)
        scene = scene.of(row)
