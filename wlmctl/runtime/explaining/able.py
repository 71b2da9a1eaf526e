"""Which live workers can do a task, what each other one misses, and whether those that can are busy."""

from __future__ import annotations

from fnmatch import fnmatchcase

from wlmctl.machine import LOCAL
from wlmctl.runtime.explaining.facts import Findings, listed
from wlmctl.runtime.explaining.scene import Scene
from wlmctl.store.workers import ALIVE, WorkerRow
from wlmctl.text import counted


def misses(scene: Scene, worker: WorkerRow) -> str | None:
    """What keeps a live worker from doing the task; None where it can."""
    info = worker.details
    if worker.state != ALIVE or worker.drain:
        return "is draining: it takes nothing new"
    if scene.task.type not in info["types"]:
        return f"takes no tasks of type {scene.task.type}"
    missing = [label for label in scene.instance.worker_labels if label not in info["labels"]]
    if missing:
        return f"has no label {missing[0]}"
    for machine in scene.touched:
        if not any(fnmatchcase(machine, glob) for glob in info["machines"]):
            return f"does not reach machine {machine}"
        if machine == LOCAL and scene.local_login not in (None, (info["host"], info["user"])):
            where = scene.row.host_name if scene.row.local_on is None else scene.row.local_on
            return f"is {info['user']} on {info['host_name']}, and local is {where} for this experiment"
    return None


def able(scene: Scene) -> list[WorkerRow]:
    """The live workers that can do the task."""
    return [worker for worker in scene.live if misses(scene, worker) is None]


def look(scene: Scene, found: Findings) -> None:
    """No live worker that can do it: what each one misses. One process alone needs its own labels only."""
    if not scene.is_fleet:
        if scene.instance.worker_labels:
            wanted = ", ".join(scene.instance.worker_labels)
            text = f"it asks for a worker with the label {wanted}: the worker of a process that works alone has none"
            found.cause("worker", text, labels=list(scene.instance.worker_labels))
        return
    if not scene.live:
        found.cause("no_worker", "no worker is live: start one with wlmctl worker")
        return
    whys = {worker.name: misses(scene, worker) for worker in scene.live}
    if all(whys.values()):
        each = "; ".join(f"{name} {why}" for name, why in list(whys.items())[:5])
        more = f"; and {len(whys) - 5} more" if len(whys) > 5 else ""
        found.cause("worker", f"no live worker can do it: {each}{more}", workers=whys)
    elif unable := {name: why for name, why in whys.items() if why}:
        text = f"{counted(len(unable), 'live worker')} of {len(whys)} cannot do it: "
        text += listed(f"{name} {why}" for name, why in unable.items())
        found.note("workers", text, workers=unable)


def busy(scene: Scene, found: Findings) -> None:
    """Every worker that can do it has as many steps in its hands as it has slots."""
    if scene.is_fleet:
        _fleet_busy(scene, found)
    elif scene.holder is not None:
        _alone_busy(scene, found)


def loads(scene: Scene, workers: list[WorkerRow]) -> dict[str, tuple[int, int]]:
    """For each worker, by name: the steps in its hands, and its slots."""
    counts: dict[str, int] = dict(
        scene.db.rows(
            "SELECT worker, count(*) FROM tasks WHERE worker IS NOT NULL AND handle IS NULL AND state IN ('running',"
            " 'cancelling') AND exp IN (SELECT seq FROM experiments WHERE ended IS NULL) GROUP BY worker"
        )
    )
    return {worker.name: (counts.get(worker.id, 0), worker.details["slots"]) for worker in workers}


def handed_out(scene: Scene, workers: list[WorkerRow]) -> int:
    """The tasks that were sent, that one of these may get, and that no worker has said to have begun."""
    rows = scene.db.rows(
        "SELECT type, machine, count(*) FROM tasks WHERE state = 'assigned' AND exp IN"
        " (SELECT seq FROM experiments WHERE ended IS NULL AND origin = 'submit') GROUP BY type, machine"
    )
    return sum(count for kind, machine, count in rows if any(_may_get(each, kind, machine) for each in workers))


def _may_get(worker: WorkerRow, task_type: str, machine: str | None) -> bool:
    info = worker.details
    return task_type in info["types"] and any(fnmatchcase(machine or LOCAL, glob) for glob in info["machines"])


def _fleet_busy(scene: Scene, found: Findings) -> None:
    able_now = able(scene)
    if not able_now:
        return
    known, sent = loads(scene, able_now), handed_out(scene, able_now)
    if sum(slots for _, slots in known.values()) > sum(steps for steps, _ in known.values()) + sent:
        return
    each = listed(f"{name} has {steps} of {slots}" for name, (steps, slots) in known.items())
    more = f"; {counted(sent, 'task')} handed out before it" if sent else ""
    found.cause(
        "slots", f"every worker that can do it is busy: {each}{more}; one more slot there would start one more",
        workers={name: {"steps": steps, "slots": slots} for name, (steps, slots) in known.items()}, handed_out=sent,
    )  # fmt: skip


def _alone_busy(scene: Scene, found: Findings) -> None:
    from wlmctl.runtime.engine import DEFAULT_SLOTS

    assert scene.holder is not None
    slots = int(scene.holder.info.get("slots", DEFAULT_SLOTS))
    which, values = "exp IN (SELECT seq FROM experiments WHERE ended IS NULL AND origin = 'submit')", tuple[int, ...]()
    if scene.row.origin == "run":
        which, values = "exp = ?", (scene.row.seq,)
    steps = scene.db.row(
        "SELECT count(*) FROM tasks WHERE handle IS NULL AND state IN ('assigned', 'running', 'cancelling')"
        f" AND {which}",
        values,
    )[0]
    if steps >= slots:
        text = f"the worker of the process that works on it has {counted(steps, 'step')} for its {slots} slots"
        found.cause("slots", text, steps=steps, slots=slots)
