"""What becomes of an execution, in words that travel: results and errors as ``Outcome``."""

from __future__ import annotations

import logging
import traceback

from wlmctl.errors import (
    Broken,
    Cancelled,
    NotFound,
    SpecError,
    TaskFailed,
    TransportError,
    Unreachable,
    Unusable,
    WlmctlError,
)
from wlmctl.message import Outcome, UndecodableMessage, check
from wlmctl.task import Deferred, Done, Failed, FailureClass, Gone, PollAnswer, Running, Unknown
from wlmctl.worker.machines import MachineAway

log = logging.getLogger(__name__)


def of_answer(answer: PollAnswer | Deferred) -> Outcome:
    """The outcome that an answer of a task type says; raises whatever is wrong with it."""
    outcome = _said(answer)
    try:
        check(outcome)
    except UndecodableMessage as error:
        raise TypeError(f"a task type answered {type(answer).__name__}: {error}") from error
    return outcome


def of_poll(answer: PollAnswer, machine: str) -> Outcome:
    """The same of work that was asked for, or was to be ended: an end is an end, however badly it is told."""
    try:
        return of_answer(answer)
    except Exception as error:  # a plugin may give anything
        return of_error(error, machine) if isinstance(answer, Done | Failed | Gone) else unproven(error, machine)


def unproven(error: Exception, machine: str) -> Outcome:
    """What an error in asking for work, or in ending it, says of that work: nothing, even where it was broken off."""
    outcome = of_error(error, machine)
    return outcome if outcome.what == "unreachable" else Outcome("unknown", reason=outcome.reason)


def _said(answer: PollAnswer | Deferred) -> Outcome:
    match answer:
        case Done():
            return Outcome(
                "done",
                exit_code=answer.exit_code,
                outputs=dict(answer.outputs),
                typed=tuple(answer.typed),
                folder=answer.folder,
                stdout=answer.stdout,
                stderr=answer.stderr,
            )
        case Failed():
            return Outcome(
                "failed",
                reason=answer.reason,
                failure_class=str(FailureClass(answer.failure_class)),
                exit_code=answer.exit_code,
                stdout=answer.stdout,
                stderr=answer.stderr,
            )
        case Gone():
            return Outcome("cancelled", reason=answer.reason, stdout=answer.stdout, stderr=answer.stderr)
        case Deferred():
            return Outcome("deferred", handle=answer.handle, started=answer.started)
        case Running():
            return Outcome(
                "running", reason=answer.reason, started=answer.started, stdout=answer.stdout, stderr=answer.stderr
            )
        case Unknown():
            return Outcome("unknown", reason=answer.reason)
    raise TypeError(f"a task type answered {answer!r}, expected Done, Failed, Gone, Deferred, Running or Unknown")


def of_error(error: BaseException, machine: str) -> Outcome:
    """The outcome that an error of an execution means; ``machine`` is where its main work is."""
    outcome = _meant(error, machine)
    try:
        check(outcome)
    except UndecodableMessage as wrong:
        return _failed(f"internal error: {type(error).__name__}: {wrong}", FailureClass.INFRA)
    return outcome


def _meant(error: BaseException, machine: str) -> Outcome:
    match error:
        case MachineAway():
            return Outcome("unreachable", reason=error.reason, machine=error.machine)
        case Unreachable():
            return Outcome("unreachable", reason=str(error), machine=machine)
        case Cancelled():
            return Outcome("cancelled", reason=str(error) or "cancelled")
        case TaskFailed():
            return _failed(error.reason, str(error.failure_class), error.job_exit_code)
        case SpecError():
            return _failed(str(error), FailureClass.USER)
        case Broken() | Unusable():  # a store or broker of ours is nobody's fault who wrote an experiment
            return _failed(str(error), FailureClass.INFRA)
        case NotFound() | TransportError() | WlmctlError():
            return _failed(str(error), FailureClass.USER)
    log.error("a plugin raised an unexpected error\n%s", "".join(traceback.format_exception(error)))
    return _failed(f"internal error: {type(error).__name__}: {error}", FailureClass.INFRA)


def _failed(reason: str, failure_class: str, exit_code: int | None = None) -> Outcome:
    return Outcome(
        "failed", reason=reason or "failed without a reason", failure_class=failure_class, exit_code=exit_code
    )
