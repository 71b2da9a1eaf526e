"""Obeying control messages: orders to stop at once, what takes time on a few threads of its own."""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic

from wlmctl.broker.contract import Channel, Delivery
from wlmctl.errors import WlmctlError
from wlmctl.machine import Machine
from wlmctl.message import (
    Answer,
    CleanedMessage,
    CleanMessage,
    CloseIdleMessage,
    Deferral,
    DrainMessage,
    EndMessage,
    GrantMessage,
    Message,
    PollAnswerMessage,
    PollMessage,
    ProbeMessage,
    StopMessage,
    TaskKey,
    TaskMessage,
    UndecodableMessage,
    decode,
)
from wlmctl.worker import execution
from wlmctl.worker.book import Book
from wlmctl.worker.crew import Crew
from wlmctl.worker.dispatch import Dispatch
from wlmctl.worker.machines import Machines
from wlmctl.worker.permits import AskedPermits
from wlmctl.worker.watch import Watcher

log = logging.getLogger(__name__)

#: Seconds between two looks whether idle connections should close.
IDLE_LOOK_S = 5.0

#: Orders to stop that are remembered, in case the dispatch is still to be executed.
STOPS_KEPT = 10_000

#: The most threads for polls, probes and cleaning, and for ends; of one order to end at most a part of these.
ASKING, ENDING, ENDING_ONE = 64, 32, 8

#: An order to end many is answered a group at a time: this long, or this many bytes of output.
GROUP_S, GROUP_BYTES = 0.1, 4 * 2**20


class Control:
    """Takes control messages and does what they say."""

    def __init__(
        self,
        worker_id: str,
        channel: Channel,
        book: Book,
        machines: Machines,
        watcher: Watcher,
        permits: AskedPermits | None,
        *,
        say: Callable[[Message], None],
        cancelled: Callable[[Dispatch], None],
        drain: Callable[[str], None],
    ) -> None:
        self._id, self._channel, self._book = worker_id, channel, book
        self._machines, self._watcher, self._permits = machines, watcher, permits
        self._say, self._cancelled, self._drain = say, cancelled, drain
        self._stopped: dict[TaskKey, None] = {}
        self._asking, self._ending = Crew("ask", ASKING), Crew("end", ENDING)
        self.is_closing = False
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Begin to obey."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Begin with nothing more, and wait for the thread's end, after the channel was closed."""
        self._asking.close()
        self._ending.close()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    @property
    def is_idle(self) -> bool:
        """True when nothing is asked or ended now."""
        return self._asking.is_idle and self._ending.is_idle

    def is_stopped(self, message: TaskMessage) -> bool:
        """True when an order to stop this has come, before or after it."""
        return message.key in self._stopped

    def ended(self, machine: Machine, deferrals: Sequence[Deferral]) -> None:
        """An end was seen as an event: say how these tasks ended."""
        self._poll(PollMessage(machine, 0, 0.0, deferrals))

    def _run(self) -> None:
        looked_s = monotonic()
        try:
            while not self.is_closing:
                for delivery in self._channel.receive_many(100, IDLE_LOOK_S):
                    self._obey(delivery)
                if monotonic() >= looked_s + IDLE_LOOK_S:
                    looked_s = monotonic()
                    self._asking.do(self._machines.pool.close_idle)  # which may wait for a machine, or for the store
        except WlmctlError as error:  # the broker refuses, or is closed: nothing will come
            log.debug("no control messages any more: %s", error)

    def _obey(self, delivery: Delivery) -> None:
        try:
            message = decode(delivery.body)
        except UndecodableMessage as error:
            log.error("a message of %s goes to the dead letters: %s", delivery.queue, error)
            self._channel.bury(delivery, str(error))
            return
        try:
            self._do(message)
        except Exception:
            log.exception("a %s message could not be obeyed", message.kind)
        self._channel.ack(delivery)

    def _do(self, message: Message) -> None:
        match message:
            case StopMessage():
                self._stop(message.keys)
            case GrantMessage() if self._permits is not None:
                self._permits.granted(message.tokens, message.sharing)
            case CloseIdleMessage():
                self._asking.do(lambda: self._machines.pool.close_idle_of(message.login))
            case DrainMessage():
                self._drain("told to drain")
            case PollMessage():
                self._asking.do(lambda: self._poll(message))
            case ProbeMessage():
                self._asking.do(lambda: self._say(execution.probe(message.machine, self._id, self._machines)))
            case CleanMessage():
                self._asking.do(lambda: self._clean(message))
            case EndMessage():
                self._end(message)
            case _:
                log.error("a %s message is no order to a worker", message.kind)

    def _stop(self, keys: Sequence[TaskKey]) -> None:
        """Stop what executes, or is still to be executed; an execution whose work is to end something goes on."""
        self._stopped |= dict.fromkeys(keys)
        while len(self._stopped) > STOPS_KEPT:
            del self._stopped[next(iter(self._stopped))]
        wanted = set(keys)
        for dispatch in self._book.begun():
            if dispatch.message.key in wanted and not dispatch.message.cancel and dispatch.context is not None:
                dispatch.context.stop()
        for dispatch in self._book.take_back(keys=wanted, but_ends=True):
            self._cancelled(dispatch)

    def _poll(self, message: PollMessage) -> None:
        # point 1: asked for jobs, nothing done
        answers = execution.poll(message, self._machines, self._watcher)
        # point 2: the machine has answered, nothing said
        for group in _groups(answers):
            self._say(PollAnswerMessage(self._id, message.machine.name, message.number, group))

    def _clean(self, message: CleanMessage) -> None:
        reason = execution.clean(message, self._machines)
        self._say(CleanedMessage(self._id, message.machine.name, message.exp, reason))

    def _end(self, message: EndMessage) -> None:
        left = deque(message.deferrals)
        for _ in range(min(ENDING_ONE, len(left))):
            self._ending.do(lambda: self._end_some(message.machine, left))

    def _end_some(self, machine: Machine, left: deque[Deferral]) -> None:
        """End one after the other of those that are left, and say of each soon how it ended."""
        answers, said_s = list[Answer](), monotonic()
        while (deferral := _popped(left)) is not None:
            # point 3: asked to end a job, nothing done
            outcome = execution.end(machine, deferral, self._machines)
            # point 4: its end is proven or not, nothing said
            answers.append(Answer(deferral.key, outcome, deferral.nonce))
            if monotonic() - said_s >= GROUP_S:
                self._say_ended(machine, answers)
                answers, said_s = [], monotonic()
        self._say_ended(machine, answers)

    def _say_ended(self, machine: Machine, answers: list[Answer]) -> None:
        for group in _groups(answers):
            self._say(PollAnswerMessage(self._id, machine.name, 0, group, ending=True))


def _popped(left: deque[Deferral]) -> Deferral | None:
    try:
        return left.popleft()
    except IndexError:
        return None


def _groups(answers: Iterable[Answer]) -> Iterator[list[Answer]]:
    """The answers in groups whose output is of a size that travels well."""
    group, size_bytes = list[Answer](), 0
    for answer in answers:
        outcome = answer.outcome
        added_bytes = len(outcome.stdout) + len(outcome.stderr)
        added_bytes += sum(len(json.dumps(text)) for text in outcome.outputs.values())
        if group and size_bytes + added_bytes > GROUP_BYTES:
            yield group
            group, size_bytes = [], 0
        group.append(answer)
        size_bytes += added_bytes
    if group:
        yield group
