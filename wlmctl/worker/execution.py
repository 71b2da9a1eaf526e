"""Doing what messages ask for: executing a dispatch, asking for deferred tasks, ending one, probing, cleaning."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from wlmctl import plugins
from wlmctl.clean_folder import clean_folders
from wlmctl.errors import Broken, BrokenOff, Cancelled, LoginRefused, PluginError, TaskFailed, TransportError
from wlmctl.machine import LOCAL, Machine
from wlmctl.message import Answer, CleanMessage, Deferral, Outcome, PollMessage, ProbeAnswerMessage
from wlmctl.task import Defers, Gathers, Prepares, Watches
from wlmctl.worker.context import ExecutionContext
from wlmctl.worker.deferring import is_deferring
from wlmctl.worker.machines import MachineAway, Machines
from wlmctl.worker.outcomes import of_answer, of_error, of_poll, unproven
from wlmctl.worker.places import experiment_folder
from wlmctl.worker.poll_context import DeferredContext
from wlmctl.worker.probe import facts
from wlmctl.worker.watch import Watcher

log = logging.getLogger(__name__)


#: The same few folders, again and again.
_path = lru_cache(maxsize=64)(Path)


def execute(context: ExecutionContext, watcher: Watcher, *, can_decline: bool = False) -> Outcome:
    """Execute a dispatch; every error becomes an outcome. ``can_decline``: other workers may have what it needs."""
    message = context.message
    main = message.roles.get(next(iter(message.roles), ""), LOCAL)
    try:
        task_type = plugins.task_type(message.type)
        spec = task_type.parse(message.text, _path(message.folder))
        main = message.roles[task_type.machines(spec)[0]]
        context.check_cancelled()
        if message.cancel:
            return _end_unseen(task_type, spec, context, main)
        try:
            outcome = of_answer(task_type.execute(spec, context))
        except Broken as error:
            if not isinstance(task_type, Defers) or not isinstance(task_type, Prepares):
                raise
            return _in_doubt(error, task_type, spec, context, main)
    except Exception as error:  # a plugin may raise anything; the task gets it as its outcome
        return _of_error(error, context, main, can_decline=can_decline)
    return _with_watch(outcome, context, main, watcher) if outcome.what == "deferred" else outcome


def execute_many(contexts: Sequence[ExecutionContext], watcher: Watcher, *, can_decline: bool = False) -> list[Outcome]:
    """Execute dispatches of one task type that ``Gathers`` together, all on one machine; an outcome for each."""
    outcomes, specs = dict[int, Outcome](), dict[int, Any]()
    (main,), name = contexts[0].message.machines, contexts[0].message.type
    for number, context in enumerate(contexts):
        try:
            spec = plugins.task_type(name).parse(context.message.text, _path(context.message.folder))
            context.check_cancelled()
        except Exception as error:  # as above
            outcomes[number] = _of_error(error, context, main, can_decline=can_decline)
        else:
            specs[number] = spec
    ends = _executed(name, [(spec, contexts[number]) for number, spec in specs.items()]) if specs else []
    away: Outcome | None = None  # a machine that does not answer about one is not asked about the others
    for (number, spec), end in zip(specs.items(), ends, strict=True):
        context = contexts[number]
        if isinstance(end, Broken) and away is not None and not context.stopped.is_set():
            outcomes[number] = away
        elif isinstance(end, Broken) and isinstance(task_type := plugins.task_type(name), Prepares):
            outcomes[number] = _in_doubt(end, task_type, spec, context, main)
            away = outcomes[number] if outcomes[number].machine and outcomes[number].what == "unknown" else None
        elif isinstance(end, Exception):
            outcomes[number] = _of_error(end, context, main, can_decline=can_decline)
        else:
            outcomes[number] = _with_watch(end, context, main, watcher) if end.what == "deferred" else end
    return [outcomes[number] for number in range(len(contexts))]


def _executed(name: str, members: Sequence[tuple[Any, ExecutionContext]]) -> Sequence[Outcome | Exception]:
    """How the task type ended with each; what it raises concerns all."""
    try:
        task_type = plugins.task_type(name)
        assert isinstance(task_type, Gathers), "only such are in company"
        ends = task_type.execute_many(members)
        if len(ends) != len(members):
            raise RuntimeError(f"task type {name} told how {len(ends)} of {len(members)} attempts ended")
    except Exception as error:  # as above
        return [error] * len(members)
    return [_end_of_one(end) for end in ends]


def _end_of_one(end: Any) -> Outcome | Exception:
    """A fault of one is no fault of the others."""
    try:
        return end if isinstance(end, Exception) else of_answer(end)
    except Exception as error:  # as above
        return error


def _of_error(error: Exception, context: ExecutionContext, main: str, *, can_decline: bool) -> Outcome:
    """What an error of an execution has made of it."""
    if isinstance(error, PluginError) and can_decline:
        return Outcome("declined", reason=str(error))
    if context.is_broken_off and isinstance(error, TransportError | MachineAway):
        error = Cancelled("cancelled")
    if isinstance(error, Cancelled) and not isinstance(error, BrokenOff) and not context.stopped.is_set():
        error = RuntimeError(f"task type {context.message.type} stopped without being told to")
    return of_error(error, main)


def _with_watch(outcome: Outcome, context: ExecutionContext, main: str, watcher: Watcher) -> Outcome:
    """What has become of a dispatch whose work goes on, and whether its end will be seen here as an event."""
    message = context.message
    deferral = Deferral(message.key, message.type, outcome.handle or {}, nonce=message.nonce)
    watched = watch(message.machines[main], deferral, watcher, armed=False)
    return Outcome("deferred", handle=outcome.handle, started=outcome.started, watched=watched, machine=main)


def _in_doubt(error: Broken, task_type: Any, spec: Any, context: ExecutionContext, main: str) -> Outcome:
    """A start of what goes on without a worker broke off: its attempt fails only where nothing of it can run."""
    if context.stopped.is_set():  # it is dispatched again, to be ended
        return Outcome("unknown", reason=str(error))
    outcome = _end_unseen(task_type, spec, context, main)
    if outcome.what in ("unknown", "unreachable"):  # the machine is asked again later, for this attempt, which may run
        return Outcome("unknown", reason=str(error), machine=main)
    return of_error(error, main) if outcome.what == "cancelled" else outcome


def _end_unseen(task_type: Any, spec: Any, context: ExecutionContext, main: str) -> Outcome:
    """End an attempt of which nobody knows whether it has started, without starting it."""
    if not isinstance(task_type, Defers) or not isinstance(task_type, Prepares):
        return Outcome("cancelled")
    try:
        try:
            handle = task_type.handle(spec, context)
        except TaskFailed as error:  # from such a text nothing can have been started
            return of_error(error, main)
        answer = task_type.cancel(handle, _deferred(context.message.machines[main], context.machines))
    except Exception as error:  # as above
        return unproven(error, main)
    outcome = of_poll(answer, main)
    if outcome.what in ("running", "unknown"):  # not proven: now it can be ended like any other deferred work
        has_begun = outcome.what == "running" and outcome.started
        return Outcome("deferred", handle=handle, started=has_begun, machine=main)
    return outcome


def watch(machine: Machine, deferral: Deferral, watcher: Watcher, *, armed: bool = True) -> bool:
    """Watch the end of the deferred task as an event where its type can, on this host; False: it must be polled."""
    if machine.name != LOCAL:
        return False
    task_type = plugins.task_type(deferral.type)
    if not isinstance(task_type, Watches):
        return False
    if watcher.knows(deferral):
        return True
    try:
        descriptor = task_type.watch(deferral.handle)
        if descriptor is None:
            return False
        watcher.add(descriptor, machine, deferral, armed=armed)
    except Exception:  # a plugin may raise anything, or give anything; what cannot be watched is polled
        log.exception("task type %s cannot watch %s", deferral.type, deferral.handle)
        return False
    return True


def poll(message: PollMessage, machines: Machines, watcher: Watcher) -> list[Answer]:
    """How the deferred tasks of a machine stand, a task type at a time; a machine that is away answers for all."""
    answers = list[Answer]()
    by_type: dict[str, list[Deferral]] = {}
    for deferral in message.deferrals:
        by_type.setdefault(deferral.type, []).append(deferral)
    wait_s = message.wait_s if len(by_type) == 1 else 0.0
    for name, deferrals in by_type.items():
        answers.extend(_poll_type(name, deferrals, _deferred(message.machine, machines, wait_s), watcher))
    return answers


def _poll_type(name: str, deferrals: Sequence[Deferral], context: DeferredContext, watcher: Watcher) -> list[Answer]:
    keyed = {f"{number}": deferral for number, deferral in enumerate(deferrals)}
    context.offsets = {
        key: (item.stdout_offset, item.stderr_offset) for key, item in keyed.items() if item.stdout_offset >= 0
    }
    try:
        task_type = plugins.task_type(name)
        if not isinstance(task_type, Defers):
            raise TypeError(f"task type {name} cannot be asked for deferred tasks")
        found = task_type.poll({key: item.handle for key, item in keyed.items()}, context)
        outcomes = {key: of_poll(answer, context.machine.name) for key, answer in found.items()}
    except Exception as error:  # as above: whatever a plugin raises is the answer
        outcomes = dict.fromkeys(keyed, unproven(error, context.machine.name))
    answers = []
    for key, item in keyed.items():
        outcome = outcomes.get(key, Outcome("unknown", reason="not in the answer"))
        if outcome.what == "running" and watch(context.machine, item, watcher):
            outcome = Outcome(
                "running", started=outcome.started, watched=True, stdout=outcome.stdout, stderr=outcome.stderr
            )
        answers.append(Answer(item.key, outcome, item.nonce))
    return answers


def end(machine: Machine, deferral: Deferral, machines: Machines) -> Outcome:
    """End a deferred task of a machine and prove it."""
    try:
        task_type = plugins.task_type(deferral.type)
        if not is_deferring(task_type):
            raise TypeError(f"task type {deferral.type} cannot end a deferred task")
        return of_poll(task_type.cancel(deferral.handle, _deferred(machine, machines)), machine.name)
    except Exception as error:  # as above
        return unproven(error, machine.name)


def _deferred(machine: Machine, machines: Machines, wait_s: float = 0.0) -> DeferredContext:
    return DeferredContext(machines.seen_from_here(machine), machines, wait_s)


def probe(machine: Machine, worker: str, machines: Machines) -> ProbeAnswerMessage:
    """Whether the machine answers, and what it has."""
    try:
        with machines.transport(machines.seen_from_here(machine), lambda: None) as transport:
            found = facts(machine, transport)
    except Exception as error:  # as above: the reason is the answer
        is_refused = isinstance(error.__cause__, LoginRefused)
        return ProbeAnswerMessage(worker, machine.name, str(error) or type(error).__name__, refused=is_refused)
    return ProbeAnswerMessage(worker, machine.name, "", found.cpus, found.memory_bytes, found.gpus)


def clean(message: CleanMessage, machines: Machines) -> str:
    """Remove the experiment's folder on a machine; the reason why not, or nothing."""
    machine = machines.seen_from_here(message.machine)
    try:
        folder = experiment_folder(machines.scratch(machine, lambda: None), message.experiment)
        with machines.transport(machine, lambda: None) as transport:
            clean_folders(transport, folder)
    except Exception as error:  # as above
        return str(error) or type(error).__name__
    return ""
