"""What the store knows of an experiment's tasks, read into the orchestrator's memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.care import Care
from wlmctl.orchestrator.counters import from_text
from wlmctl.states import FINAL, TaskState
from wlmctl.store import Database, experiments
from wlmctl.store.rows import TaskRow
from wlmctl.task import Resources

if TYPE_CHECKING:
    from wlmctl.orchestrator.work import Work

_UNDER_WAY = frozenset({TaskState.ASSIGNED, TaskState.RUNNING, TaskState.DEFERRED, TaskState.CANCELLING})

_STATES = {state.value: state for state in TaskState}


def load(work: Work, db: Database, upto: int | None) -> None:
    """All tasks of an experiment that has just been made. ``upto``: see ``Work``.

    Of most tasks little is wanted: of those that are under way everything is, and they are few.
    """
    is_any_under_way = False
    for each in experiments.standings(db, work.seq, count=work.row.task_count):
        idx, state = each.idx, _STATES[each.state]
        work.states[idx] = state
        work.needs.tallies[each.template].count(state, 1)
        work.ended += state in FINAL
        if state is TaskState.FAILED and not work.templates[each.template].may_fail:
            work.failed_for_good += 1
        if each.attempt > 1:
            work.attempts[idx] = each.attempt
        if each.dispatch:
            work.dispatches[idx] = each.dispatch
        if each.asked:
            work.asked[idx] = json.loads(each.asked)
        if (each.kills or each.careful) and state not in FINAL:
            work.care[idx] = Care(each.kills, bool(each.careful))
        if state is TaskState.READY:
            work.ready.add(idx, work.row.created)
        elif state is TaskState.WAITING:
            if each.due is not None:
                work.delay(idx, each.due)
            else:
                work.look_at.append(idx)
        is_any_under_way |= state in _UNDER_WAY
    if moving := work.locality.moving:
        for template, position, outputs in experiments.outputs(db, work.seq, moving):
            work.locality.read(template, position, outputs)
    if is_any_under_way:
        for row in experiments.tasks(db, work.seq, states=sorted(_UNDER_WAY)):
            _take_up(work, row, upto)


def _take_up(work: Work, row: TaskRow, upto: int | None) -> None:
    """A task that is under way: does a worker have it, as far as an earlier leader knew?"""
    active = work.active[row.idx] = _active(work, row)
    if active.handle is not None:
        return
    if upto is None or not active.number:
        work.unsent.add(row.idx)
    elif active.number > upto:
        work.unconfirmed.add(row.idx)
    else:
        active.sent, active.holder = True, row.worker


def _active(work: Work, row: TaskRow) -> Active:
    instance = work.instance(row.idx)
    walltime_s = instance.resources.walltime_s
    return Active(
        row.idx, _STATES[row.state], row.attempt, row.dispatch, row.nonce or "", row.type, row.machine, row.site,
        work.machines_of(row.idx, instance),
        work.place_of(row.machine) if row.machine is not None else None,
        Resources(row.cpus or 0, row.memory_bytes or 0, row.gpus or 0, walltime_s=walltime_s),
        tuple(json.loads(row.devices)) if row.devices else (),
        json.loads(row.handle) if row.handle else None,
        row.started, instance.timeout_s, number=row.sent or 0, kills=row.kills,
        is_counted=row.site is not None, counters=from_text(row.counters), is_raised=True,
    )  # fmt: skip
