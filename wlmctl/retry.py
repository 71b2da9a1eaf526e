"""A user's retry: tasks that have ended get a new attempt, and their experiment runs again."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from wlmctl.control import Change, changing, current
from wlmctl.errors import UsageError
from wlmctl.experiment.model import Experiment, Template
from wlmctl.states import EXPERIMENT_FINAL, FINAL, ExperimentState, TaskState
from wlmctl.store import experiments
from wlmctl.store.database import Database
from wlmctl.store.rows import ExperimentRow, TaskRow
from wlmctl.text import counted

#: What an attempt leaves in its row, as it is before the first one.
_FRESH: dict[str, Any] = {
    "nonce": None, "published": 0, "sent": None, "kills": 0, "careful": 0, "worker": None, "machine": None,
    "site": None, "cpus": None, "memory_bytes": None, "gpus": None, "devices": None, "counters": None, "asked": None,
    "handle": None, "outputs": None, "folder": None, "exit_code": None, "failure_class": None, "reason": None,
    "user_failures": 0, "infra_failures": 0, "due": None, "started": None, "ended": None,
}  # fmt: skip

_AGAIN = frozenset({TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED})


def retry(
    db: Database,
    seq: int,
    *,
    now_s: float,
    by: str,
    tasks: Collection[int] = (),
    redo: Collection[int] = (),
    text: Experiment | None = None,
) -> Change:
    """Give failed, cancelled and skipped tasks a new attempt: all, or ``tasks`` (positions) and what they made skip.

    ``redo`` names tasks that are done again with all behind them, succeeded or not. ``text`` replaces the texts and
    files; its names, instances and needs are the same, else ``UsageError``.
    """
    with changing(db, seq, now_s) as (row, recorder):
        state = ExperimentState(row.state)
        if state is ExperimentState.CANCELLING:
            raise UsageError(f"{row.id} is still cancelling: wait for its end (wlmctl wait {row.id}) and retry then")
        from wlmctl.experiment import from_document

        templates = from_document(experiments.document(db, seq)).templates
        if text is not None:
            _refuse_other_graph(row, templates, text.templates)
        rows = list(experiments.tasks(db, seq))
        again = _tasks_again(row, rows, templates, tasks, redo)
        if not again:
            return Change(row, False, f"{row.id}: no task has failed, been cancelled or skipped: nothing to retry")
        for task in again:
            recorder.task(task.idx, TaskState(task.state), TaskState.WAITING, **_reset(task))
        if text is not None:
            _replace_text(db, row, text)
            recorder.note("text", f"new texts and files by {by}")
        recorder.note("retry", f"{counted(len(again), 'task')} again, by {by}")
        if state in EXPERIMENT_FINAL:
            recorder.experiment(state, ExperimentState.RUNNING, ended=None, reason=None, stopping=0, cleaned=0)
        elif row.stopping:
            recorder.experiment_fields("going on", stopping=0)
    return Change(current(db, seq), True, f"{row.id}: {counted(len(again), 'task')} to be tried again")


def _reset(task: TaskRow) -> dict[str, Any]:
    """The columns that change so that the row is as before its first attempt, under the next attempt's number."""
    changes = {name: value for name, value in _FRESH.items() if getattr(task, name) != value}
    if task.dispatch:
        changes["attempt"] = max(task.attempt, 1) + 1
    return changes


def _tasks_again(
    row: ExperimentRow,
    rows: Sequence[TaskRow],
    templates: Sequence[Template],
    tasks: Collection[int],
    redo: Collection[int],
) -> list[TaskRow]:
    if not tasks and not redo:
        return [task for task in rows if TaskState(task.state) in _AGAIN]
    chosen = set(tasks)
    for task in rows:
        if task.idx in chosen and TaskState(task.state) not in _AGAIN:
            hint = f": --from {task.name} does it again, with all behind it" if task.state == "succeeded" else ""
            raise UsageError(f"{row.id}: task {task.name} is {task.state}{hint}")
    chosen |= {idx for idx in behind(templates, tasks) if rows[idx].state == TaskState.SKIPPED}
    everything = set(redo) | behind(templates, redo)
    for task in rows:
        state = TaskState(task.state)
        if task.idx in everything and state not in FINAL and (state is not TaskState.WAITING or task.idx in redo):
            raise UsageError(f"{row.id}: task {task.name} is {state}: wait for its end, or cancel, and retry then")
    chosen |= {idx for idx in everything if TaskState(rows[idx].state) in FINAL}
    return [task for task in rows if task.idx in chosen]


def behind(templates: Sequence[Template], start: Iterable[int]) -> set[int]:
    """The positions of all tasks that need one of ``start``, directly or through others; not ``start`` itself."""
    first, count = dict[str, int](), 0
    place = list[tuple[int, int]]()
    for number, template in enumerate(templates):
        first[template.name] = count
        count += len(template.rows)
        place.extend((number, position) for position in range(len(template.rows)))
    needed_by: dict[str, list[tuple[Template, Any]]] = {template.name: [] for template in templates}
    for template in templates:
        for need in template.needs:
            needed_by[need.task].append((template, need.which))
    found, whole, open_ = set[int](), set[tuple[str, str]](), list(start)
    while open_:
        number, position = place[open_.pop()]
        for template, which in needed_by[templates[number].name]:
            begin = first[template.name]
            if which == "same":
                reached: Iterable[int] = (begin + position,)
            elif which in ("all", position) and (templates[number].name, template.name) not in whole:
                whole.add((templates[number].name, template.name))
                reached = range(begin, begin + len(template.rows))
            else:
                continue
            new = [idx for idx in reached if idx not in found]
            found.update(new)
            open_.extend(new)
    return found - set(start)


def _refuse_other_graph(row: ExperimentRow, old: Sequence[Template], new: Sequence[Template]) -> None:
    """``UsageError`` unless both have the same tasks, of the same types, with the same instances and needs."""
    names = [template.name for template in old]
    if [template.name for template in new] != names:
        raise UsageError(f"{row.id}: --with: the tasks must stay {', '.join(names)}, in this order")
    for before, after in zip(old, new, strict=True):
        for key, what in (("type", "type"), ("keys", "foreach"), ("rows", "instances"), ("needs", "needs")):
            if _plain(getattr(before, key)) != _plain(getattr(after, key)):
                raise UsageError(f"{row.id}: --with: the {what} of task {before.name} must stay as submitted")


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return [tuple(item) if isinstance(item, list) else item for item in value]


def _replace_text(db: Database, row: ExperimentRow, text: Experiment) -> None:
    """Put the new document and files in place of the old ones; name, labels, priority and folder stay."""
    from wlmctl.experiment import to_document

    kept = replace(text, name=row.name, labels=tuple(row.label_list), priority=row.priority, folder=row.folder)
    experiments.replace_text(db, row.seq, json.dumps(to_document(kept)), kept.files)
