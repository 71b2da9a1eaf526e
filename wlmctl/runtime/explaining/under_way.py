"""A task that is under way: with the broker, in a worker's hands, in a batch queue, running, or being ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from wlmctl.orchestrator.poison import ALONE, QUARANTINE
from wlmctl.quantities import format_duration
from wlmctl.runtime.explaining import able, room, standing, turn
from wlmctl.runtime.explaining.facts import Findings, listed, moment
from wlmctl.runtime.explaining.scene import Scene
from wlmctl.states import TaskState
from wlmctl.store.rows import EventRow
from wlmctl.text import counted


def look(scene: Scene) -> Findings:
    """Where it is; there is at least one cause."""
    found = Findings()
    match TaskState(scene.task.state):
        case TaskState.ASSIGNED:
            _assigned(scene, found)
        case TaskState.RUNNING:
            _running(scene, found)
        case TaskState.DEFERRED:
            _deferred(scene, found)
        case _:
            _cancelling(scene, found)
    return found


def _since(scene: Scene) -> EventRow | None:
    """The event that brought the task into its state."""
    return next((event for event in reversed(scene.events) if event.target == scene.task.state), None)


def _when(scene: Scene) -> tuple[str, dict[str, Any]]:
    """Since when it is in its state, for people and as a figure."""
    event = _since(scene)
    return ("", {}) if event is None else (f" since {moment(event.time, scene.now_s)}", {"since": event.time})


def _sent_again(scene: Scene, found: Findings) -> None:
    """A dispatch that came to nothing was followed by another."""
    again = [event for event in scene.events if event.kind == "dispatch"]
    if again:
        said = f": {again[-1].reason}" if again[-1].reason else ""
        text = (
            f"it was handed out again (dispatch {scene.task.dispatch}) at {moment(again[-1].time, scene.now_s)}{said}"
        )
        found.note("sent_again", text, at=again[-1].time, dispatch=scene.task.dispatch)


def _kills(scene: Scene, found: Findings) -> None:
    """Workers died while they executed it: what follows of that."""
    kills = scene.task.kills
    if kills:
        follows = f"after {ALONE} it is executed alone in one, after {QUARANTINE} not any more"
        text = f"{counted(kills, 'worker')} died while executing it: {follows}"
        found.note("killed", text, kills=kills)


def _nobody(scene: Scene, found: Findings, *, is_cause: bool) -> None:
    """No process takes its result, or works on it."""
    missing = standing.nobody(scene)
    if missing is not None:
        (found.cause if is_cause else found.note)(*missing)


def _assigned(scene: Scene, found: Findings) -> None:
    turn.held(scene, found)
    _nobody(scene, found, is_cause=not scene.is_fleet)
    when, figures = _when(scene)
    if not scene.is_fleet:
        found.cause("assigned", f"it is in the queue of the worker of the process that works on it{when}", **figures)
    else:
        able.look(scene, found)
        _at_workers(scene, found, when, figures)
    room.connections(scene, found)
    _kills(scene, found)
    _sent_again(scene, found)


def _at_workers(scene: Scene, found: Findings, when: str, figures: Mapping[str, Any]) -> None:
    """In the queue of those that can do it, or delivered to one that has not begun."""
    there = able.able(scene)
    known = able.loads(scene, there)
    if len(there) == 1:
        steps, slots = known[there[0].name]
        text = f"it is in the queue of worker {there[0].name}, or in its hands{when}: it has {steps} of {slots} steps"
    elif there:
        each = listed(f"{name} has {steps} of {slots}" for name, (steps, slots) in known.items())
        text = f"it is in the queue of the {len(there)} workers that can do it{when}: {each}"
    else:
        text = f"it was handed out to a worker that is not there any more{when}: it goes to the next that comes"
    loads = {name: {"steps": steps, "slots": slots} for name, (steps, slots) in known.items()}
    found.cause("assigned", text, workers=loads, **figures)


def _running(scene: Scene, found: Findings) -> None:
    task = scene.task
    worker = scene.worker_rows.get(task.worker or "")
    if worker is not None and not worker.is_live:
        end = "" if worker.ended is None else f" since {moment(worker.ended, scene.now_s)}"
        text = f"{scene.worker_name(task.worker)} is {worker.state}{end}: the task is handed out again"
        found.cause("worker_lost", text, worker=worker.name, reason=worker.reason)
    _nobody(scene, found, is_cause=not scene.is_fleet)
    room.connections(scene, found)
    on = f" on machine {task.machine}" if task.machine else ""
    if worker is None or worker.is_live:
        _at_work(scene, found, f"{scene.worker_name(task.worker)} executes it{on}")
    _notes(scene, found)


def _deferred(scene: Scene, found: Findings) -> None:
    task = scene.task
    held = Findings()
    turn.held(scene, held)
    for fact in held.causes:
        found.cause(fact.code, f"{fact.text}; nobody can ask for its job, which goes on", **fact.figures)
    handle: dict[str, Any] = json.loads(task.handle) if task.handle else {}
    job = _job_id(handle)
    which = f"its job {job}" if job is not None else "its job"
    if task.started is None:
        when, figures = _when(scene)
        said = handle.get("reason")
        why = f"; the batch system says: {said}" if said else ""
        text = f"{which} is in the batch queue of machine {task.machine}{when}{why}"
        found.cause("batch_queue", text, machine=task.machine, job=job, **figures)
    else:
        _at_work(scene, found, f"{which} runs on machine {task.machine}")
    room.commands(scene, found)
    _nobody(scene, found, is_cause=False)
    _notes(scene, found)


def _job_id(handle: Mapping[str, Any]) -> str | None:
    """What the batch system calls the job, as far as its handle says so."""
    job = handle.get("job")
    for each in (job, handle):
        if isinstance(each, Mapping):
            named = next((each[key] for key in ("id", "job_id", "pid") if each.get(key) is not None), None)
            if named is not None:
                return str(named)
    return str(job) if isinstance(job, str | int) else None


def _at_work(scene: Scene, found: Findings, text: str) -> None:
    """It runs: since when, and until when it may."""
    started_s, now_s, timeout_s = scene.task.started, scene.now_s, scene.instance.timeout_s
    figures: dict[str, Any] = {"machine": scene.task.machine, "worker": scene.task.worker, "timeout_s": timeout_s}
    if started_s is not None:
        text += f" since {moment(started_s, now_s)}"
        figures |= {"since": started_s}
        if timeout_s is not None:
            until_s = started_s + timeout_s
            has_passed = until_s <= now_s
            text += f"; its time-out of {format_duration(timeout_s)} {'passed' if has_passed else 'passes'} at"
            text += f" {moment(until_s, now_s)}{': it is being stopped' if has_passed else ''}"
            figures |= {"until": until_s}
    if (walltime_s := scene.instance.resources.walltime_s) is not None and scene.is_counted:
        text += f"; its walltime is {format_duration(walltime_s)}"
        figures |= {"walltime_s": walltime_s}
    found.cause("running", text, **figures)


def _notes(scene: Scene, found: Findings) -> None:
    if scene.task.attempt > 1:
        last = next((e for e in reversed(scene.events) if e.target == TaskState.WAITING and e.reason), None)
        said = f": attempt {scene.task.attempt - 1} ended with: {last.reason}" if last is not None else ""
        found.note("attempt", f"this is attempt {scene.task.attempt}{said}", attempt=scene.task.attempt)
    _kills(scene, found)
    _sent_again(scene, found)
    if scene.task.state == TaskState.RUNNING:
        held = Findings()
        turn.held(scene, held)
        found.notes += held.causes


def _cancelling(scene: Scene, found: Findings) -> None:
    turn.held(scene, found)
    _nobody(scene, found, is_cause=True)
    when, figures = _when(scene)
    said = f" ({scene.cancelled_by})" if scene.cancelled_by else ""
    on = f" on machine {scene.task.machine}" if scene.task.machine else ""
    text = f"it is being cancelled{when}{said}: it waits for the proof that its work{on} has ended"
    found.cause("cancelling", text, machine=scene.task.machine, **figures)
    _sent_again(scene, found)
