"""What becomes of an execution, in words that travel: results and errors as ``Outcome``."""

from __future__ import annotations

import logging
import traceback

from wlmctl.errors import Broken, Cancelled, NotFound, SpecError, TaskFailed, TransportError, Unreachable, WlmctlError
from wlmctl.message import Outcome
from wlmctl.task import Deferred, Done, Failed, FailureClass, Gone, PollAnswer, Running, Unknown
from wlmctl.worker.machines import MachineAway

log = logging.getLogger(__name__)


def of_answer(answer: PollAnswer | Deferred) -> Outcome:
    """The outcome that an answer of a task type says."""
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
        case Broken():
            return _failed(str(error), FailureClass.INFRA)
        case NotFound() | TransportError() | WlmctlError():
            return _failed(str(error), FailureClass.USER)
    log.error("a plugin raised an unexpected error\n%s", "".join(traceback.format_exception(error)))
    return _failed(f"internal error: {type(error).__name__}: {error}", FailureClass.INFRA)


def _failed(reason: str, failure_class: str, exit_code: int | None = None) -> Outcome:
    return Outcome(
        "failed", reason=reason or "failed without a reason", failure_class=failure_class, exit_code=exit_code
    )
