"""What workers answer, applied: only the current dispatch counts, everything else is recorded and ignored."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping

from wlmctl.message import Outcome, PollAnswerMessage, ProbeAnswerMessage, ResultMessage, StartedMessage, TaskKey
from wlmctl.orchestrator import ending
from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.routing import Routing
from wlmctl.orchestrator.window import Window
from wlmctl.orchestrator.work import Work
from wlmctl.states import TaskState
from wlmctl.store import experiments, logs

log = logging.getLogger(__name__)

#: Seconds until a task that every worker has declined is offered again.
DECLINED_S = 30.0


def started(book: Book, works: Mapping[int, Work], message: StartedMessage) -> None:
    """A worker has begun."""
    found = current(works, message.key, message.nonce)
    if found is not None:
        work, active = found
        active.holder, active.is_begun = message.worker, True
        if active.state is TaskState.ASSIGNED:
            active.state, active.started_s = TaskState.RUNNING, book.now_s
            book.move(work, active.idx, TaskState.RUNNING, worker=message.worker, started=book.now_s, published=1)
        elif active.state is TaskState.RUNNING and active.started_s is None:  # begun anew, after a restart
            active.started_s = book.now_s
            book.of(work).task_fields(active.idx, "started", worker=message.worker, started=book.now_s, published=1)


def current(works: Mapping[int, Work], key: TaskKey, nonce: str | None) -> tuple[Work, Active] | None:
    """The dispatch that this names, if it is the one that counts now; without a nonce: its attempt."""
    work = works.get(key.exp)
    active = work.active.get(key.idx) if work is not None else None
    if work is None or active is None or active.attempt != key.attempt:
        return None
    if nonce is not None and (active.dispatch != key.dispatch or active.nonce != nonce):
        return None
    return work, active


def result(
    book: Book, works: Mapping[int, Work], routing: Routing, message: ResultMessage, now: float, window: Window
) -> None:
    """A dispatch has ended, or has become a deferred task."""
    found = current(works, message.key, message.nonce)
    if found is None or found[1].handle is not None:  # its dispatch is over: deferred work is asked for by polls
        _late(book, works, message)
        return
    work, active = found
    active.sent = False
    if routing.company(active.type, [active.place]) is None:  # a bunch that ends at once says nothing of a rate
        window.finished(work.seq, active.type, work.place(active.idx)[0], now)
    outcome = message.outcome
    if active.state is TaskState.ASSIGNED:
        active.overtaken = message.worker, book.now_s - message.took_s
    match outcome.what:
        case "done":
            ending.succeed(book, work, active, outcome)
        case "failed" if not active.is_end and ending.may_run(work, active):
            active.failure = outcome
            work.send_again(active, outcome.reason)
        case "failed":
            ending.fail(book, work, active, outcome, routing.fleet)
        case "deferred" if outcome.handle is not None:
            _deferred(book, work, active, outcome, message.worker)
        case "cancelled":
            if active.is_to_end and not _is_proof(work, active, routing):
                work.send_again(active)  # now to be ended, if it runs
            elif active.is_to_end:
                ending.cancelled(book, work, active, outcome, routing.fleet)
            else:
                ending.hand_back(book, work, active, outcome.reason)
        case "unreachable":
            routing.fleet.hold(book.db, outcome.machine, outcome.reason, now, book.now_s)
            active.end_sent_s = None
            if not active.is_to_end:
                why = outcome.reason.removeprefix(f"machine {outcome.machine}: ")
                ending.hand_back(book, work, active, f"machine {outcome.machine} is held: {why}")
            else:
                work.send_again(active)
        case "unknown" if outcome.machine:  # it may run there: its machine is held, and the attempt keeps its place
            routing.fleet.hold(book.db, outcome.machine, outcome.reason, now, book.now_s)
            work.send_again(active, outcome.reason)
        case _ if active.is_to_end:
            work.send_again(active, outcome.reason or None)
            active.end_sent_s = now  # not proven: the order to end is given again, but not at once
        case "declined" if routing.registry.is_fleet:
            _declined(book, work, active, outcome, message.worker, routing, now)
        case "unknown" if work.defers[work.place(active.idx)[0]]:  # as above, and another worker may ask at once
            work.send_again(active, outcome.reason)
        case _:
            ending.hand_back(book, work, active, outcome.reason)


def _is_proof(work: Work, active: Active, routing: Routing) -> bool:
    """True where an execution that was stopped proves that the work does not run.

    What goes on without a worker may have been started by another execution: by one of an earlier dispatch, or of this
    one where it was sent twice.
    """
    defers = work.defers[work.place(active.idx)[0]]
    return active.is_end or not defers or (active.dispatch == 1 and not routing.registry.is_fleet)


def _declined(
    book: Book, work: Work, active: Active, outcome: Outcome, worker: str, routing: Routing, now: float
) -> None:
    """The task goes to another worker; where all have declined, after a while to all of them again."""
    care = work.mind(active.idx)
    care.refused.add(worker)
    if all(member.id in care.refused for member in routing.consumers(active.type)):
        care.refused.clear()
        reason = f"declined by every worker: {outcome.reason}"
        if ending.may_run(work, active):
            work.send_again(active, reason)
            active.end_sent_s = now  # not at once
        else:
            ending.put_off(book, work, active, reason, DECLINED_S)
    else:
        ending.hand_back(book, work, active, f"declined: {outcome.reason}")


def _late(book: Book, works: Mapping[int, Work], message: ResultMessage) -> None:
    key, work = message.key, works.get(message.key.exp)
    row = work.row if work is not None else experiments.get(book.db, key.exp)
    if row is None or not 0 <= key.idx < row.task_count:
        log.warning("a result of experiment %d, task %d: there is no such task", key.exp, key.idx)
        return
    active = work.active.get(key.idx) if work is not None else None
    is_forged = (
        active is not None
        and (active.attempt, active.dispatch) == (key.attempt, key.dispatch)
        and active.nonce != message.nonce
    )
    what = f"a result of attempt {key.attempt}, dispatch {key.dispatch}"
    book.of_number(key.exp).note(
        "late",
        f"{what} was refused: its nonce is wrong" if is_forged else f"{what} came too late and was ignored",
        key.idx,
        what=message.outcome.what,
        worker=message.worker,
    )


def _deferred(book: Book, work: Work, active: Active, outcome: Outcome, worker: str) -> None:
    active.handle, active.watched, active.deferred_s = outcome.handle, outcome.watched, book.now_s
    active.holder = None
    handle = json.dumps(outcome.handle, separators=(",", ":"))
    if active.state is TaskState.CANCELLING:
        book.of(work).task_fields(active.idx, "handle", handle=handle, worker=worker)
        return
    started_s = (active.started_s or book.now_s) if outcome.started else None
    active.state, active.started_s = TaskState.DEFERRED, started_s
    book.move(work, active.idx, TaskState.DEFERRED, handle=handle, worker=worker, started=started_s, published=1)


def answers(
    book: Book, works: Mapping[int, Work], fleet: Fleet, message: PollAnswerMessage, newest: bool, now: float
) -> None:
    """Deferred tasks were asked for. Evidence of an end counts always, "running" only from the newest poll."""
    for answer in message.answers:
        found = current(works, answer.key, None)
        if found is None or found[1].handle is None:
            continue
        work, active = found
        if answer.nonce != active.nonce:
            what = f"an answer about attempt {answer.key.attempt} was refused: its nonce is wrong"
            book.of(work).note("late", what, active.idx, what=answer.outcome.what, worker=message.worker)
            continue
        outcome = answer.outcome
        ending_now = active.is_to_end
        if outcome.what == "unreachable":
            fleet.hold(book.db, outcome.machine or message.machine, outcome.reason, now, book.now_s)
            active.end_sent_s = None
        elif ending_now and not message.ending:
            continue  # only the answer to our own order to end says whether the work ended by itself before
        elif outcome.what == "done":
            ending.succeed(book, work, active, outcome)
        elif outcome.what == "failed":
            ending.fail(book, work, active, outcome, fleet)
        elif outcome.what == "cancelled":
            if ending_now:
                ending.cancelled(book, work, active, outcome, fleet)
            else:
                why = outcome.reason or "the job was ended from outside"
                if active.started_s is None:
                    why = f"its submit broke off, or it was ended from outside ({why})"
                gone = Outcome("failed", why, "infra",
                               stdout=outcome.stdout, stderr=outcome.stderr)  # fmt: skip
                ending.fail(book, work, active, gone, fleet)
        elif outcome.what == "running" and newest:
            _running(book, work, active, outcome)


def _running(book: Book, work: Work, active: Active, outcome: Outcome) -> None:
    active.watched = outcome.watched
    if outcome.started and active.started_s is None:
        active.started_s = book.now_s
        book.of(work).task_fields(active.idx, "started", started=book.now_s)
    elif not outcome.started and active.handle is not None and outcome.reason != active.handle.get("reason", ""):
        active.handle = {**active.handle, "reason": outcome.reason}
        book.of(work).task_fields(active.idx, "queued", outcome.reason, handle=json.dumps(active.handle))
    for stream, content in (("stdout", outcome.stdout), ("stderr", outcome.stderr)):
        if content:
            start = logs.live_end(book.db, work.seq, active.idx, active.attempt, stream)
            logs.add_live(book.db, work.seq, active.idx, active.attempt, stream, start, content)


def tell_held(book: Book, works: Iterable[Work], fleet: Fleet) -> None:
    """One event for each held machine in each experiment that has work for it."""
    for work in works:
        for name in fleet.held:
            if name not in work.told_held and work.touches(name):
                work.told_held.add(name)
                book.of(work).note("held", fleet.held[name], machine=name)


def probed(book: Book, works: Mapping[int, Work], routing: Routing, message: ProbeAnswerMessage, now: float) -> None:
    """A worker has looked at a machine: it is held, or what it has is known and it is held no longer."""
    fleet = routing.fleet
    place = routing.place_of_answer(message.worker, message.machine)
    if not fleet.is_probed_by(place, message.worker):
        log.info("an answer about machine %s that nobody asked %s for", message.machine, message.worker)
    elif message.reason:
        fleet.hold(book.db, place, message.reason, now, book.now_s, probed=True, refused=message.refused)
    else:
        fleet.answered(message, place)
        release(book, works, fleet, place)


def release(book: Book, works: Mapping[int, Work], fleet: Fleet, machine: str) -> None:
    """A machine answers: it is held no longer."""
    if fleet.release(book.db, machine):
        _released(book, works, machine, f"machine {machine} answers again")


def let_go(book: Book, works: Mapping[int, Work], fleet: Fleet) -> None:
    """What users held, and hold no longer."""
    for machine in fleet.let_go(book.db, book.now_s):
        _released(book, works, machine, f"machine {machine} is released")


def _released(book: Book, works: Mapping[int, Work], machine: str, reason: str) -> None:
    for work in works.values():
        if machine in work.told_held:
            work.told_held.discard(machine)
            book.of(work).note("released", reason, machine=machine)
