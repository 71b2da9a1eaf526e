"""What becomes ready, and what never will: needs, due times, cancels, failures that stop the rest."""

from __future__ import annotations

import heapq

from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.needs import Verdict
from wlmctl.orchestrator.work import Work
from wlmctl.states import ExperimentState, TaskState

#: Tasks looked at in one transaction of one experiment, so that none holds the store's lock for long.
CHUNK = 250

_MOVING = frozenset({ExperimentState.RUNNING, ExperimentState.CANCELLING})


def start(book: Book, work: Work) -> None:
    """A scheduled experiment whose time has come begins."""
    due = work.row.start_due
    if work.state is ExperimentState.SCHEDULED and (due is None or due <= book.now_s):
        book.of(work).experiment(work.state, ExperimentState.RUNNING, started=book.now_s)
        work.state = ExperimentState.RUNNING


def has_more(work: Work) -> bool:
    """True when the next look will move something on: a task whose needs have changed, or the experiment's end."""
    return work.is_over() or (work.state in _MOVING and bool(work.look_at))


def release(book: Book, work: Work) -> None:
    """Move waiting tasks on, a part of them at a time."""
    if work.state not in _MOVING:
        return
    while work.due and work.due[0][0] <= book.now_s:
        idx = heapq.heappop(work.due)[1]
        work.delayed.discard(idx)
        work.look_at.append(idx)
    for _ in range(min(CHUNK, len(work.look_at))):
        idx = work.look_at.popleft()
        if work.states[idx] is TaskState.WAITING:
            _release(book, work, idx)


def _release(book: Book, work: Work, idx: int) -> None:
    if work.stopping:
        book.move(work, idx, TaskState.SKIPPED, ended=book.now_s, reason="on_failure: stop, and a task has failed")
        return
    template, position = work.place(idx)
    verdict = work.needs.verdict(template, position, work.states, work.first)
    if verdict is Verdict.LOST:
        book.move(work, idx, TaskState.SKIPPED, ended=book.now_s, reason="a task that it needs did not succeed")
    elif verdict is Verdict.MET and idx not in work.delayed:
        book.move(work, idx, TaskState.READY, attempt=work.attempt(idx), due=None)
        work.ready.add(idx, book.now_s)


def skip_ready(book: Book, work: Work) -> None:
    """Ready tasks of an experiment that stops on a failure do not start."""
    if not work.stopping:
        return
    for group in work.ready.values():
        for idx in group.clear():
            book.move(work, idx, TaskState.SKIPPED, ended=book.now_s, reason="on_failure: stop, and a task has failed")
