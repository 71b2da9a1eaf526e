"""The end of an attempt: success, another attempt, or failure for good."""

from __future__ import annotations

import json

from wlmctl.experiment.model import Retry
from wlmctl.message import Outcome
from wlmctl.orchestrator import raising
from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.work import Work
from wlmctl.states import ExperimentState, TaskState
from wlmctl.store import experiments, logs
from wlmctl.store.outputs import to_column
from wlmctl.task import FailureClass

#: Infrastructure failures are tried again this often, the first after 10 s, doubling to 10 min.
INFRA_LIMIT, INFRA_FIRST_S, INFRA_LONGEST_S = 5, 10.0, 600.0

#: What a task has while it is under way, and no longer: any, and one that takes room of its machine.
_RELEASED = {"nonce": None}
_ALL_RELEASED = {"nonce": None, "site": None, "cpus": None, "memory_bytes": None, "gpus": None, "devices": None}


def succeed(book: Book, work: Work, active: Active, outcome: Outcome) -> None:
    """The attempt has succeeded."""
    _keep_logs(book, work, active, outcome)
    _count(book, work, active)
    if outcome.outputs:
        work.locality.succeeded(*work.place(active.idx), outcome.outputs)
    book.move(
        work,
        active.idx,
        TaskState.SUCCEEDED,
        ended=book.now_s,
        reason=None,
        **_left_by(active, outcome),
        **active.beginning(),
        **_released(active),
    )


def _left_by(active: Active, outcome: Outcome) -> dict[str, object]:
    """What a success has brought; what an earlier attempt, or a deferral, may have left goes."""
    left: dict[str, object] = {
        "exit_code": outcome.exit_code,
        "outputs": to_column(outcome.outputs, outcome.typed),
        "folder": outcome.folder,
        "handle": None,
        "failure_class": None,
    }
    if active.attempt == 1 and active.handle is None:  # there is nothing of that kind, and most tasks bring nothing
        return {name: value for name, value in left.items() if value is not None}
    return left


def cancelled(book: Book, work: Work, active: Active, outcome: Outcome, fleet: Fleet) -> None:
    """The work is proven not to run, after a cancel, after its time-out, or after an execution of it has failed."""
    if active.failure is not None and active.state is not TaskState.CANCELLING:
        fail(book, work, active, active.failure, fleet)
        return
    if active.timed_out and active.state is not TaskState.CANCELLING:
        limit = f"{active.timeout_s:g} s" if active.timeout_s is not None else "its time-out"
        fail(book, work, active, Outcome(
            "failed", f"timeout: it ran for longer than {limit}", FailureClass.TIME,
            stdout=outcome.stdout, stderr=outcome.stderr,
        ), fleet)  # fmt: skip
        return
    _keep_logs(book, work, active, outcome)
    _count(book, work, active)
    book.move(
        work, active.idx, TaskState.CANCELLED, ended=book.now_s, handle=None, reason=outcome.reason or "cancelled",
        failure_class=FailureClass.CANCELLED.value, **_released(active),
    )  # fmt: skip


def fail(book: Book, work: Work, active: Active, outcome: Outcome, fleet: Fleet | None = None) -> None:
    """The attempt has failed: another one where the retry rules allow it, else the task has failed.

    ``fleet`` says what a machine has, of which the next attempt may ask for more; None: there is no other attempt.
    """
    _keep_logs(book, work, active, outcome)
    _count(book, work, active)
    failure = FailureClass(outcome.failure_class or "user")
    book.of(work).settle()
    row = experiments.task(book.db, work.seq, active.idx)
    counter = "infra_failures" if failure in (FailureClass.INFRA, FailureClass.PREEMPTED) else "user_failures"
    count = getattr(row, counter) + 1
    is_last = active.state is TaskState.CANCELLING or work.stopping
    wait_s = None if is_last or fleet is None else _wait_s(work, active, failure, count)
    reason = outcome.reason
    raised: dict[str, str] = {}
    if fleet is not None and wait_s is not None:
        try:
            if (more := raising.after(work, active, failure, fleet)) is not None:
                reason, raised = f"{reason}; {more}", {"asked": json.dumps(work.asked[active.idx])}
        except raising.NothingMore as error:
            wait_s, reason = None, f"{reason}; {error}"
    if wait_s is None:
        book.move(
            work, active.idx, TaskState.FAILED, ended=book.now_s, exit_code=outcome.exit_code, reason=reason,
            failure_class=failure.value, handle=None, **{counter: count}, **active.beginning(), **_released(active),
        )  # fmt: skip
        failed_for_good(book, work)
        return
    due = book.now_s + wait_s
    book.move(
        work, active.idx, TaskState.WAITING, attempt=active.attempt + 1, due=due, exit_code=outcome.exit_code,
        reason=reason, failure_class=failure.value, handle=None, started=None, worker=None,
        **{counter: count}, **raised, **_released(active),
    )  # fmt: skip
    work.done_with(active.idx)
    work.attempts[active.idx] = active.attempt + 1
    work.delay(active.idx, due)


def _count(book: Book, work: Work, active: Active) -> None:
    """What the attempt has used of its machine is the user's and the project's."""
    started_s = active.started_s if active.overtaken is None else active.overtaken[1]
    if started_s is not None and active.resources is not None and active.resources.cpus:
        key = work.row.user, work.row.project
        cpu_s = active.resources.cpus * max(0.0, book.now_s - started_s)
        book.used[key] = book.used.get(key, 0.0) + cpu_s


def _released(active: Active) -> dict[str, None]:
    released = _ALL_RELEASED if active.is_counted else _RELEASED
    return {**released, "counters": None} if active.counters else released


def failed_for_good(book: Book, work: Work) -> None:
    """A task has just failed for good: with ``on_failure: stop`` nothing new starts any more."""
    if work.experiment.on_failure == "stop" and work.failed_for_good and not work.stopping:
        work.stopping = True
        book.of(work).experiment_fields("stopping", stopping=1)
        work.look_again()


def _wait_s(work: Work, active: Active, failure: FailureClass, count: int) -> float | None:
    """Seconds until the next attempt, or None when there is none."""
    if failure in (FailureClass.INFRA, FailureClass.PREEMPTED):
        return min(INFRA_FIRST_S * 2 ** (count - 1), INFRA_LONGEST_S) if count <= INFRA_LIMIT else None
    retry: Retry | None = work.instance(active.idx).retry
    if retry is None or failure.value not in retry.on or count > retry.limit:
        return None
    return retry.delay_s * float(retry.backoff) ** (count - 1)


def may_run(work: Work, active: Active) -> bool:
    """True where an earlier dispatch of the attempt may have begun what goes on without a worker: only who asks there
    knows, and until then the task keeps its place."""
    return active.is_raised and work.defers[work.place(active.idx)[0]]


def hand_back(book: Book, work: Work, active: Active, reason: str) -> None:
    """The dispatch has ended without effect: the task is ready again, its attempt is not spent."""
    if may_run(work, active):
        work.send_again(active, reason)
        return
    work.done_with(active.idx)
    work.attempts[active.idx] = active.attempt
    book.move(
        work,
        active.idx,
        TaskState.READY,
        reason=reason,
        worker=None,
        started=None,
        machine=None,
        handle=None,
        **_released(active),
    )
    work.ready.add(active.idx, book.now_s)


def put_off(book: Book, work: Work, active: Active, reason: str, wait_s: float) -> None:
    """The dispatch has ended without effect: the task is ready again after a while, its attempt is not spent."""
    due = book.now_s + wait_s
    work.attempts[active.idx] = active.attempt
    book.move(
        work, active.idx, TaskState.WAITING, due=due, reason=reason, worker=None, started=None, machine=None,
        handle=None, **_released(active),
    )  # fmt: skip
    work.done_with(active.idx)
    work.delay(active.idx, due)


def finish(book: Book, work: Work) -> bool:
    """End the experiment when all of its tasks are final; True when it has just ended."""
    if work.state in (ExperimentState.SUCCEEDED, ExperimentState.FAILED, ExperimentState.CANCELLED):
        return False
    if not work.is_over():
        return False
    reason = None
    if work.state is ExperimentState.CANCELLING:
        target = ExperimentState.CANCELLED
    elif work.failed_for_good:
        target = ExperimentState.FAILED
        reason = f"{work.failed_for_good} task{'s' if work.failed_for_good != 1 else ''} failed"
    elif count := sum(tally.cancelled for tally in work.needs.tallies):
        target = ExperimentState.FAILED
        reason = f"{count} task{'s are' if count != 1 else ' is'} cancelled"
    else:
        target = ExperimentState.SUCCEEDED
    book.of(work).experiment(work.state, target, ended=book.now_s, reason=reason)
    book.of(work).settle()  # what it held is free in this look: from now on it is counted from the store
    work.state = target
    return True


def _keep_logs(book: Book, work: Work, active: Active, outcome: Outcome) -> None:
    logs.put(book.db, work.seq, active.idx, active.attempt, outcome.stdout, outcome.stderr)
