"""A scheduler on a thread of its own: one that does not answer in time is left behind until it has answered."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from queue import Empty, SimpleQueue

from wlmctl.role_classes import decide
from wlmctl.scheduler import Decision, Scheduler, Snapshot

log = logging.getLogger(__name__)

#: Seconds that a decision may take where the configuration says nothing (``decision_limit``).
LIMIT_S = 5.0

#: Seconds between two signs of life of whoever waits for a decision.
SIGN_S = 1.0

#: So many assignments, bindings or reservations beyond two for each ready task are more than anybody can mean.
_SPARE = 1000

_Answer = Decision | BaseException


class Hangs(Exception):
    """The scheduler has not answered in time, or still has not."""


class Watched:
    """A scheduler that answers within ``limit_s`` or raises ``Hangs``, at once while a call of it has not returned.

    There is one thread, so never a second call while the first one hangs; the late answer is thrown away.
    """

    by_class = True

    def __init__(self, scheduler: Scheduler, limit_s: float | None = None) -> None:
        self._scheduler, self._limit_s = scheduler, LIMIT_S if limit_s is None else limit_s
        self._snapshots: SimpleQueue[Snapshot | None] = SimpleQueue()
        self._answers: SimpleQueue[_Answer] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_out = False
        #: Called each second while a decision is waited for; what it raised, if anything.
        self.while_waiting: Callable[[], object] = lambda: None
        self.interruption: Exception | None = None
        weakref.finalize(self, self._snapshots.put, None)

    def is_hung(self) -> bool:
        """True while a call that was left behind has not returned."""
        if self._is_out:
            try:
                self._answers.get_nowait()
            except Empty:
                return True
            self._is_out = False
            log.warning("the scheduler has returned from the call that hung: it is asked again")
        return False

    def assign(self, snapshot: Snapshot) -> Decision:
        """Its decision, with all parts of it at hand; raises what it raises, or ``Hangs``."""
        if self.is_hung():
            raise Hangs(f"no decision in {self._limit_s:g} s")
        if self._thread is None:
            thread = threading.Thread(
                target=_decide, args=(self._scheduler, self._snapshots, self._answers), name="scheduler", daemon=True
            )
            thread.start()
            self._thread = thread
        self._snapshots.put(snapshot)
        answer = self._wait()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _wait(self) -> _Answer:
        until_s = time.monotonic() + self._limit_s
        self._is_out = True
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                answer = self._answers.get(timeout=min(left_s, SIGN_S))
            except Empty:
                self._show_life()
            else:
                self._is_out = False
                return answer
        raise Hangs(f"no decision in {self._limit_s:g} s")

    def _show_life(self) -> None:
        try:
            self.while_waiting()
        except Exception as error:
            self.interruption = error
            raise


def _decide(scheduler: Scheduler, snapshots: SimpleQueue[Snapshot | None], answers: SimpleQueue[_Answer]) -> None:
    """The thread: one answer for each snapshot, whatever the scheduler does."""
    while (snapshot := snapshots.get()) is not None:
        answer: _Answer
        try:
            answer = _at_hand(decide(scheduler, snapshot), snapshot)
        except Exception as error:
            answer = error
        except BaseException as error:  # SystemExit and the like end no thread that somebody waits for
            answer = RuntimeError(f"it raised {type(error).__name__}")
        del snapshot  # nothing is kept alive while nobody asks
        answers.put(answer)
        del answer


def _at_hand(decision: Decision, snapshot: Snapshot) -> Decision:
    """The decision with plain lists, so that nothing of the scheduler's runs once it is taken over."""
    if not isinstance(decision, Decision):
        return decision
    most = 2 * sum(len(group.tasks) for group in snapshot.groups) + _SPARE
    return replace(
        decision,
        assignments=list(islice(decision.assignments, most)),
        bindings=list(islice(decision.bindings, most)),
        reservations=list(islice(decision.reservations, most)),
        reasons=dict(decision.reasons.items()),
    )
