"""Making a task context: foreach and run-time values put in, machines named, files added, no secret and no store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wlmctl.errors import WlmctlError
from wlmctl.experiment import parse_task_selector
from wlmctl.experiment.model import Instance
from wlmctl.machine import LOCAL, Machine
from wlmctl.message import TaskMessage
from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.work import Work
from wlmctl.store import Database, experiments
from wlmctl.store.outputs import of_column


class ValueMissing(WlmctlError):
    """A run-time value that the task needs does not exist."""


def token(store_id: str, experiment: str, task: str, attempt: int) -> str:
    """The attempt's token, 32 hex digits: computed, never random, so that whoever asks again asks for the same job."""
    return hashlib.sha256(f"{store_id}/{experiment}/{task}/{attempt}".encode()).hexdigest()[:32]


def runtime_values(book: Book, work: Work, idx: int) -> dict[str, str] | None:
    """The run-time values in a task's text, or None when it has none; ``ValueMissing`` for one that does not exist."""
    template, position = work.place(idx)
    names = work.instances[template].runtime_names(position)
    if not names:
        return None
    book.of(work).settle()
    return {name: _value(book.db, work, name) for name in names}


def _value(db: Database, work: Work, name: str) -> str:
    """``tasks.setup.folder`` or ``tasks.simulate[3].outputs.energy``."""
    body = name.removeprefix("tasks.")
    if body.endswith(".folder"):
        selector, key = body.removesuffix(".folder"), None
    else:
        selector, _, key = body.rpartition(".outputs.")
    template, label = parse_task_selector(selector)
    name_of = template if label is None else f"{template}[{label}]"
    row = experiments.tasks_named(db, work.row, template, name_of)[0]
    if key is None:
        if row.folder is None:
            raise ValueMissing(f"${{{name}}}: task {row.name} is {row.state} and has no folder")
        return row.folder
    outputs = of_column(row.outputs)
    if key not in outputs:
        raise ValueMissing(f"${{{name}}}: task {row.name} is {row.state} and has no output {key}")
    return outputs[key]


@dataclass(frozen=True, slots=True)
class Bound:
    """The machines of a task, by role and by name: the same for all tasks of a group."""

    roles: Mapping[str, str]
    machines: Mapping[str, Machine]


def bound(work: Work, idx: int, roles: Sequence[str], fleet: Fleet) -> Bound:
    """The machines of the task's roles; ``WlmctlError`` where one is missing."""
    names = {role: _machine(work, idx, role) for role in roles or (LOCAL,)}
    for name in names.values():
        if name not in fleet:
            raise WlmctlError(f"machine {name} is not in the inventory any more")
    return Bound(names, {name: fleet.machine(work.place_of(name) or name) for name in names.values()})


def context(
    book: Book,
    work: Work,
    active: Active,
    fleet: Fleet,
    store_id: str,
    *,
    cancel: bool = False,
    to: Bound | None = None,
) -> TaskMessage:
    """The message that hands this dispatch to a worker; raises ``WlmctlError`` where it cannot be made.

    ``to``: its machines, where they are known.
    """
    instance = work.instance(active.idx, runtime_values(book, work, active.idx))
    name_of_task = work.name(active.idx)
    if to is None:
        to = bound(work, active.idx, instance.roles, fleet)
    care = work.care.get(active.idx)
    is_careful = care is not None and (care.is_careful or care.kills > 0)
    return TaskMessage(
        active.key(work.seq),
        active.nonce,
        token(store_id, work.row.id, name_of_task, active.attempt),
        work.row.id,
        name_of_task,
        active.type,
        instance.text,
        to.roles,
        to.machines,
        work.row.folder if work.row.local_on is None else "",
        instance.resources,
        active.devices,
        _files(book.db, work, instance),
        cancel,
        work.row.priority,
        is_careful,
        care is not None and care.kills > 1,
    )


def _machine(work: Work, idx: int, role: str) -> str:
    name = work.machine_of(idx, role)
    if name is None:
        raise WlmctlError(f"role {role} has no machine")
    return name


def _files(db: Database, work: Work, instance: Instance) -> dict[str, bytes]:
    """The files read at submit that this task names."""
    if work.files is None:
        work.files = experiments.files(db, work.seq)
    if not work.files:
        return {}
    named = set(_strings(instance.text))
    return {name: content for name, content in work.files.items() if name in named}


def _strings(value: object) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)
