"""The threads that execute dispatches: one at a time each, and none is lost to whatever a task type does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from time import monotonic

from msgspec.structs import replace

from wlmctl.batch import MANY
from wlmctl.message import Deferral, Outcome, ResultMessage, StartedMessage, TaskKey, TaskMessage, encode
from wlmctl.plugins import task_type
from wlmctl.worker import execution
from wlmctl.worker.book import Book
from wlmctl.worker.contact import Contact
from wlmctl.worker.context import ExecutionContext
from wlmctl.worker.deferring import is_deferring
from wlmctl.worker.dispatch import Dispatch
from wlmctl.worker.machines import Machines
from wlmctl.worker.outbox import Outbox, Parcel
from wlmctl.worker.outcomes import of_error
from wlmctl.worker.settings import WorkerSettings
from wlmctl.worker.watch import Watcher

log = logging.getLogger(__name__)

_LOOK_S = 0.2

#: Seconds in which nothing more of a burst comes, after which it is taken for whole; and the longest that is waited.
BURST_S, BURST_LONGEST_S = 0.1, 1.0


class Slots:
    """Executes what the book gives, ``info.slots`` at once.

    ``is_stopped`` says whether an order to stop has come; ``finished`` is told the queue of each that has ended, and
    which part of its delivery it was.
    """

    def __init__(
        self,
        worker_id: str,
        settings: WorkerSettings,
        book: Book,
        outbox: Outbox,
        machines: Machines,
        watcher: Watcher,
        contact: Contact | None,
        *,
        is_stopped: Callable[[TaskMessage], bool],
        finished: Callable[[str, float], None],
    ) -> None:
        self._id, self._settings, self._book, self._outbox = worker_id, settings, book, outbox
        self._machines, self._watcher, self._contact = machines, watcher, contact
        self._is_stopped, self._finished = is_stopped, finished
        self._reaches = settings.info.machines
        self._executing: dict[TaskKey, ExecutionContext] = {}
        self._is_mute = False
        self._threads = [
            threading.Thread(target=self._execute_all, name=f"slot-{number}", daemon=True)
            for number in range(settings.info.slots)
        ]

    def start(self) -> None:
        """Begin to execute."""
        for thread in self._threads:
            thread.start()

    def executing(self) -> list[ExecutionContext]:
        """The executions under way."""
        return list(self._executing.values())

    def break_off(self) -> None:
        """Stop all that executes."""
        for context in self.executing():
            context.stop(is_left_to_others=True)

    def mute(self) -> None:
        """Say nothing any more of what ends: it is as if this worker had been killed."""
        self._is_mute = True

    def join(self, timeout_s: float) -> None:
        """Wait for the ends, after the book was closed."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout_s)

    def answer(self, dispatch: Dispatch, outcome: Outcome, execution_name: str = "") -> None:
        """Say what has become of a dispatch."""
        message = dispatch.message
        took_s = monotonic() - dispatch.began_s if dispatch.began_s else 0.0
        result = ResultMessage(self._id, message.key, message.nonce, execution_name, outcome, took_s)
        try:
            body = encode(result)
        except Exception as error:  # what a plugin gave cannot travel as a message
            wrong = TypeError(f"the result of task type {message.type} is no plain JSON: {error}")
            body = encode(replace(result, outcome=of_error(wrong, "")))
        if not self._is_mute:
            self._outbox.put_result(dispatch, body)

    def started_message(self, dispatch: Dispatch) -> bytes:
        """The message that says that it has started."""
        return encode(StartedMessage(self._id, dispatch.message.key, dispatch.message.nonce))

    def _execute_all(self) -> None:
        ended: list[Dispatch] = []
        while (dispatch := self._book.next(*ended)) is not None:
            ended = [dispatch]
            try:
                if dispatch.company is None:
                    self._execute(dispatch)
                else:
                    self._await_burst(dispatch)
                    ended += self._book.along(dispatch, MANY - 1)
                    self._execute_together(ended)
            except BaseException:  # the slot stays, whatever happens in it
                log.exception("a dispatch of task %s could not be executed", dispatch.message.task)
            for each in ended:
                self._finished(each.delivery.queue, each.share)

    def _await_burst(self, first: Dispatch) -> None:
        """Return when the others have come that were sent with it."""
        end_s, seen = monotonic() + BURST_LONGEST_S, -1
        while seen < (here := self._book.gathered(first)) < MANY and monotonic() < end_s:
            seen = here
            time.sleep(BURST_S)

    def _execute(self, dispatch: Dispatch) -> None:
        context = self._begun(dispatch)
        # point 1: taken, nothing done
        try:
            outcome = self._declined(dispatch.message) or self._outcome(dispatch, context)
        except BaseException as error:  # a plugin that raises even SystemExit must not take a slot with it
            outcome = of_error(error, "")
        # point 2: executed, nothing said
        self._ended(dispatch, context, outcome)

    def _execute_together(self, dispatches: Sequence[Dispatch]) -> None:
        """Execute these by one execution, and say of each for itself how it ended."""
        contexts = [self._begun(dispatch) for dispatch in dispatches]
        for context in contexts[1:]:
            context.join(contexts[0])
        outcomes = [self._declined(dispatch.message) for dispatch in dispatches]
        left = [context for context, outcome in zip(contexts, outcomes, strict=True) if outcome is None]
        # point 3: taken together, nothing done
        try:
            ends = self._outcomes(left)
        except BaseException as error:  # as above
            ends = [of_error(error, "")] * len(left)
        # point 4: executed together, nothing said
        told = iter(ends)
        for dispatch, context, outcome in zip(dispatches, contexts, outcomes, strict=True):
            self._ended(dispatch, context, outcome or next(told))

    def _begun(self, dispatch: Dispatch) -> ExecutionContext:
        message = dispatch.message
        context = ExecutionContext(message, self._machines, contact=self._contact, is_breakable=dispatch.moves)
        dispatch.context = self._executing[message.key] = context
        if self._is_stopped(message) and not message.cancel:
            context.stopped.set()
        return context

    def _ended(self, dispatch: Dispatch, context: ExecutionContext, outcome: Outcome) -> None:
        message = dispatch.message
        self._executing.pop(message.key, None)
        self.answer(dispatch, outcome, context.execution)
        if outcome.watched:
            self._watcher.arm(Deferral(message.key, message.type, {}, nonce=message.nonce))

    def _outcomes(self, contexts: Sequence[ExecutionContext]) -> list[Outcome]:
        can_decline = self._settings.is_fleet
        if len(contexts) > 1:
            return execution.execute_many(contexts, self._watcher, can_decline=can_decline)
        return [execution.execute(context, self._watcher, can_decline=can_decline) for context in contexts]

    def _declined(self, message: TaskMessage) -> Outcome | None:
        if self._reaches != ("*",):
            for name in message.roles.values():
                if not any(fnmatchcase(name, pattern) for pattern in self._reaches):
                    return Outcome("declined", reason=f"this worker does not reach machine {name}")
        return None

    def _outcome(self, dispatch: Dispatch, context: ExecutionContext) -> Outcome:
        message = dispatch.message
        if message.careful:
            self._say_first(dispatch, context)
        elif not (context.stopped.is_set() or message.cancel or _defers(message.type)):
            self._outbox.put_started(dispatch)
        return execution.execute(context, self._watcher, can_decline=self._settings.is_fleet)

    def _say_first(self, dispatch: Dispatch, context: ExecutionContext) -> None:
        """Return when the leader can know that it has started: it may be what kills workers."""
        is_known = threading.Event()
        self._outbox.put(Parcel(self.started_message(dispatch), confirmed=is_known.set))
        while not is_known.wait(_LOOK_S) and not context.stopped.is_set():
            pass


def _defers(name: str) -> bool:
    """True for a task type whose work goes on without a worker, or that is not there at all."""
    try:
        found = task_type(name)
    except Exception:  # the execution says what is wrong with it
        return True
    return is_deferring(found)
