"""A ready task: what keeps it from its turn, from what no waiting will change to who is before it."""

from __future__ import annotations

import re

from wlmctl.machine import LOCAL, Machine, Requirement
from wlmctl.orchestrator.standing import standing
from wlmctl.runtime.explaining import able, counters, room
from wlmctl.runtime.explaining.facts import MOST_LISTED, Findings, listed, moment
from wlmctl.runtime.explaining.scene import Scene
from wlmctl.states import ExperimentState, TaskState
from wlmctl.store.rows import EVENT_COLUMNS, EventRow
from wlmctl.text import counted

#: Reasons of schedulers that the store itself confirms or refutes: they are causes only where that is found.
_DERIVED = frozenset({"role", "held", "worker", "max_running"})

_TASK_ID = re.compile(r"\b(\d{1,9})\.(\d{1,9})\b")


def look(scene: Scene, found: Findings) -> None:
    """Add what keeps the task from starting."""
    fitting = _roles(scene, found)
    is_bound = fitting is None
    held(scene, found)
    if LOCAL in scene.touched and scene.local_login is None:
        wanted = scene.row.local_on
        found.cause("local", f"no live worker is, or is on, {wanted} (--local-on)", local_on=wanted)
    if scene.holder is not None or scene.is_fleet:
        able.look(scene, found)
    _max_running(scene, found)
    if is_bound and scene.touched:
        room.look(scene, found)
    elif fitting:
        room.of_any(scene, found, fitting)
    counters.look(scene, found)
    able.busy(scene, found)
    _said(scene, found, is_bound=is_bound)
    _order(scene, found)


def _roles(scene: Scene, found: Findings) -> list[str] | None:
    """Roles without a machine: what rules out each machine that there is; the machines that fit that of the task's main
    work, None where no role is without one.
    """
    main = list[str]()
    open_roles = [role for role in scene.instance.roles if scene.machine_of(role) is None]
    for role in open_roles:
        requires = _with_own_needs(scene, role, scene.experiment.roles[role].requires or Requirement())
        misfits = {name: _misfit(scene, machine, requires) for name, machine in scene.machines.items()}
        ruled_out = {name: text for name, text in misfits.items() if text is not None}
        name = scene.role_key(role)
        if len(ruled_out) == len(misfits):
            whys = "; ".join(f"{machine} {text}" for machine, text in list(ruled_out.items())[:5])
            more = f"; and {len(ruled_out) - 5} more" if len(ruled_out) > 5 else ""
            found.cause("role", f"no machine fits the role {name}: {whys}{more}", role=name, machines=ruled_out)
        else:
            fitting = [machine for machine in misfits if machine not in ruled_out]
            main += fitting if role == scene.instance.roles[0] else []
            data_bytes = scene.locality.data_bytes(role, name, scene.bindings)
            put = [f"{size:,} bytes on {machine}" for machine, size in data_bytes.items()]
            where = f"; of what its tasks read there are {listed(put)}" if put else ""
            text = f"the role {name} has no machine yet; fitting: {listed(fitting)}{where}"
            found.note("role_open", text, role=name, fitting=fitting, machines=ruled_out, data_bytes=data_bytes)
    return main if open_roles else None


def _with_own_needs(scene: Scene, role: str, requires: Requirement) -> Requirement:
    """What the role requires, and at least what the task takes of its machine: no smaller one is a match."""
    if role != scene.instance.roles[0] or not scene.is_counted:
        return requires
    asked = scene.instance.resources
    each = {name: max(getattr(requires, name) or 0, getattr(asked, name)) for name in room.AMOUNTS}
    return Requirement(requires.labels, **{name: amount or None for name, amount in each.items()})


def _misfit(scene: Scene, machine: Machine, requires: Requirement) -> str | None:
    """Why a role cannot be bound to the machine now."""
    if machine.name in scene.holds:
        return "is held"
    known = room.with_own_capacity(scene, machine)
    asked = {name: getattr(requires, name) for name in room.AMOUNTS}
    unknown = {name for name, wanted in asked.items() if wanted and getattr(known, name) is None}
    labels_and_known = Requirement(requires.labels, **{k: None if k in unknown else v for k, v in asked.items()})
    return labels_and_known.misfit(known)


def held(scene: Scene, found: Findings) -> None:
    """Machines of the task that do not answer, or that users hold."""
    for name in scene.touched:
        hold = scene.holds.get(name)
        if hold is None:
            continue
        text = f"machine {name} is held since {moment(hold.since_s, scene.now_s)}: {hold.text}; "
        if hold.by is not None:
            text += f"wlmctl machine release {name} ends that"
        else:
            due_s = hold.probe_due_s or scene.now_s
            # an attempt that gets no answer takes longer than it takes until the next one is due
            text += "it is tried again " + (f"at {moment(due_s, scene.now_s)}" if due_s > scene.now_s else "now")
        found.cause(
            "held", text, machine=name, since=hold.since_s, probe_due=hold.probe_due_s, by=hold.by, until=hold.until_s
        )


def _max_running(scene: Scene, found: Findings) -> None:
    most = scene.experiment.max_running
    if most is None:
        return
    names = [
        name
        for (name,) in scene.db.rows(
            "SELECT name FROM tasks WHERE exp = ? AND state IN ('assigned', 'running', 'deferred', 'cancelling')"
            " ORDER BY idx",
            (scene.row.seq,),
        )
    ]
    if len(names) >= most:
        text = f"the experiment's max_running of {most} is reached: {listed(names)} under way"
        found.cause("max_running", text, max_running=most, tasks=names[:MOST_LISTED])


def _said(scene: Scene, found: Findings, *, is_bound: bool) -> None:
    """The newest reason that the scheduler gave for the task, or for another of its group.

    It knows what machines have reported of themselves, which the store does not: so it may know why no role fits.
    """
    said = _newest_reason(scene)
    if said is None:
        return
    code = str(said.values.get("code") or "scheduler")
    reason = str(said.reason)
    if code == "reserved":  # the task that it is kept for has the name that schedulers know
        reason = _TASK_ID.sub(lambda found: _named(scene, found), reason)
    text = f"the scheduler said, {moment(said.time, scene.now_s)}: {reason}"
    if any(str(said.reason) in fact.text for fact in found.causes):
        return
    if found.causes or (code in _DERIVED and (is_bound or code != "role")):
        found.note("scheduler", text, at=said.time, scheduler_code=code)
    else:
        found.cause(code, text, at=said.time, scheduler_code=code)


def _named(scene: Scene, found: re.Match[str]) -> str:
    sql = "SELECT e.id, t.name FROM tasks t JOIN experiments e ON e.seq = t.exp WHERE t.exp = ? AND t.idx = ?"
    row = scene.db.row(sql, (int(found[1]), int(found[2])))
    return found[0] if row is None else " ".join(row)


def _newest_reason(scene: Scene) -> EventRow | None:
    since = max((event.n for event in scene.events if event.kind == "task"), default=0)
    mine = _group_of(scene, scene.task.position)
    rows = scene.db.rows(
        f"SELECT {', '.join(f'e.{name}' for name in EVENT_COLUMNS.split(', '))}, t.position FROM events e"
        " JOIN tasks t ON t.exp = e.exp AND t.idx = e.task"
        " WHERE e.exp = ? AND e.n > ? AND e.kind = 'waiting' AND t.template = ? ORDER BY e.n DESC",
        (scene.row.seq, since, scene.task.template),
    )
    for *row, position in rows:
        event = EventRow(*row)
        if _group_of(scene, position, event.values.get("each")) == mine:
            return event
    return None


def _group_of(scene: Scene, position: int, each: str | None = None) -> tuple[object, ...]:
    """What an instance of the template asks for: a scheduler takes those that ask for the same for one another.

    ``each``: while that role of it was open.
    """
    instance = scene.instances.at(position)
    keys = {role: scene.role_key(role, position) for role in instance.roles}
    bound = {key: scene.bindings[key] for role, key in keys.items() if role != each and key in scene.bindings}
    how, _ = standing(
        instance.roles,
        scene.experiment.roles,
        keys.__getitem__,
        bound,
        scene.role_needs,
    )
    return how.names, instance.resources, instance.worker_labels, instance.counters


def _order(scene: Scene, found: Findings) -> None:
    """Its priority, its age, and whose ready tasks go before it."""
    row, task = scene.row, scene.task
    rows = scene.db.rows(
        'SELECT e.id, e."user", e.priority, count(*) FROM experiments e JOIN tasks t ON t.exp = e.seq'
        " WHERE e.ended IS NULL AND e.state = ? AND t.state = ? AND (e.priority > ?"
        " OR (e.priority = ? AND (e.seq < ? OR (e.seq = ? AND t.idx < ?))))"
        ' GROUP BY e.seq, e.id, e."user", e.priority ORDER BY e.priority DESC, e.seq',
        (ExperimentState.RUNNING.value, TaskState.READY.value, row.priority, row.priority, row.seq, row.seq, task.idx),
    )
    since_s = ready_since(scene.events)
    age = f", ready since {moment(since_s, scene.now_s)}" if since_s is not None else ""
    deadline_s = scene.experiment.deadline_s(row.start_due or row.created)
    if deadline_s is not None:
        is_or_was = "is" if scene.now_s <= deadline_s else "was"
        text = f"the experiment {is_or_was} to be done by {moment(deadline_s, scene.now_s)}"
        found.note("deadline", text, until=deadline_s)
    before = sum(count for *_, count in rows)
    whose = listed(f"{count} of {name} (priority {level}, {user})" for name, user, level, count in rows)
    those = f"; {counted(before, 'ready task')} before it: {whose}" if rows else "; no ready task is before it"
    found.note(
        "order", f"priority {row.priority}{age}{those}", priority=row.priority, since=since_s, before=before,
        experiments=[{"id": name, "user": user, "priority": level, "ready": n} for name, user, level, n in rows],
    )  # fmt: skip


def ready_since(log: list[EventRow]) -> float | None:
    """When the task became ready last."""
    return next((event.time for event in reversed(log) if event.target == TaskState.READY), None)
