"""The worker: slots that execute dispatches, a line for control messages, and the events of this host."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from wlmctl.broker.contract import Broker, Channel, Delivery
from wlmctl.machine import Machine
from wlmctl.message import (
    Answer,
    CleanedMessage,
    CleanMessage,
    Deferral,
    EndMessage,
    Message,
    PollAnswerMessage,
    PollMessage,
    ProbeMessage,
    ResultMessage,
    StartedMessage,
    StopMessage,
    TaskKey,
    TaskMessage,
    UndecodableMessage,
    decode,
    encode,
)
from wlmctl.plugins import task_type
from wlmctl.queues import DEAD, RESULTS, control_queue, work_queue
from wlmctl.task import Defers
from wlmctl.worker import execution
from wlmctl.worker.context import ExecutionContext, Machines
from wlmctl.worker.outcomes import of_error
from wlmctl.worker.watch import Watcher

log = logging.getLogger(__name__)

#: Seconds between two looks whether idle connections should close.
IDLE_LOOK_S = 5.0

#: Orders to stop that are remembered, in case the dispatch is still to be executed.
STOPS_KEPT = 10_000


class Worker:
    """Executes what its queues give it, with ``slots`` executions at once; ``close`` leaves jobs running."""

    def __init__(self, name: str, broker: Broker, machines: Machines, *, slots: int, prefix: str = "wlm") -> None:
        self.name, self._prefix = name, prefix
        self._machines, self._pool = machines, machines.pool
        self._channel = broker.channel()
        self._work = broker.channel()
        self._control = broker.channel()
        self._channel.declare(RESULTS.format(prefix=prefix))
        self._channel.declare(DEAD.format(prefix=prefix))
        self._work.consume(work_queue(prefix), slots)
        self._control.consume(control_queue(prefix, name), 1_000_000)
        self._watcher = Watcher(self._ended)
        self._executing: dict[TaskKey, ExecutionContext] = {}
        self._stopped: dict[TaskKey, None] = {}
        self._closing = False
        self._threads = [
            threading.Thread(target=self._execute_all, name=f"slot-{number}", daemon=True) for number in range(slots)
        ]
        self._threads.append(threading.Thread(target=self._obey, name="control", daemon=True))

    def start(self) -> None:
        """Begin to consume."""
        for thread in self._threads:
            thread.start()

    def executing(self) -> list[ExecutionContext]:
        """The executions under way, with how far they are."""
        return list(self._executing.values())

    def close(self, timeout_s: float) -> None:
        """Stop: steps under way are broken off and leave nothing half-made, jobs go on. Waits at most ``timeout_s``."""
        self._closing = True
        for context in self.executing():
            context.stopped.set()
        self._work.close()
        self._control.close()
        for thread in self._threads:
            thread.join(timeout_s)
        self._watcher.close()
        self._channel.close()
        self._pool.close_all()

    def _publish(self, message: Message) -> None:
        if not self._closing:
            self._channel.publish(RESULTS.format(prefix=self._prefix), encode(message))

    def _execute_all(self) -> None:
        while (delivery := self._work.receive(None)) is not None:
            try:
                message = decode(delivery.body)
                if not isinstance(message, TaskMessage):
                    raise UndecodableMessage(f"a {message.kind} message in a work queue")
            except UndecodableMessage as error:
                self._bury(self._work, delivery, error)
                continue
            self._execute(message)
            if not self._closing:
                self._work.ack(delivery)

    def _bury(self, channel: Channel, delivery: Delivery, error: UndecodableMessage) -> None:
        log.error("a message of %s goes to the dead letters: %s", delivery.queue, error)
        self._channel.publish(DEAD.format(prefix=self._prefix), delivery.body)
        channel.ack(delivery)

    def _execute(self, message: TaskMessage) -> None:
        context = ExecutionContext(message, self._machines)
        self._executing[message.key] = context
        if message.key in self._stopped and not message.cancel:
            context.stopped.set()
        try:
            if not context.stopped.is_set() and not isinstance(task_type(message.type), Defers):
                self._publish(StartedMessage(self.name, message.key, message.nonce))
            outcome = execution.execute(context, self._watcher)
        except BaseException as error:  # a plugin that raises even SystemExit must not take a slot with it
            outcome = of_error(error, "")
        finally:
            del self._executing[message.key]
        result = ResultMessage(self.name, message.key, message.nonce, context.execution, outcome)
        try:
            self._publish(result)
        except (TypeError, ValueError, AttributeError) as error:  # what a plugin gave cannot travel as a message
            outcome = of_error(TypeError(f"the result of task type {message.type} is no plain JSON: {error}"), "")
            self._publish(replace(result, outcome=outcome))
        if outcome.watched:
            self._watcher.arm(Deferral(message.key, message.type, {}))

    def _obey(self) -> None:
        """Control messages never wait for one another: what takes time has a thread of its own."""
        looked_s = time.monotonic()
        while (delivery := self._control.receive(IDLE_LOOK_S)) is not None or not self._closing:
            if time.monotonic() >= looked_s + IDLE_LOOK_S:
                looked_s = time.monotonic()
                self._pool.close_idle()
            if delivery is None:
                continue
            try:
                message = decode(delivery.body)
            except UndecodableMessage as error:
                self._bury(self._control, delivery, error)
                continue
            if isinstance(message, StopMessage):
                self._stop(message.key)
            else:
                threading.Thread(target=self._answer, args=(message,), name=message.kind, daemon=True).start()
            self._control.ack(delivery)

    def _stop(self, key: TaskKey) -> None:
        """Stop what executes, or is still to be executed; an execution whose work is to end something goes on."""
        self._stopped[key] = None
        if len(self._stopped) > STOPS_KEPT:
            del self._stopped[next(iter(self._stopped))]
        context = self._executing.get(key)
        if context is not None and not context.message.cancel:
            context.stopped.set()

    def _answer(self, message: Message) -> None:
        match message:
            case PollMessage():
                answers = execution.poll(message, self._machines, self._watcher)
                self._publish(PollAnswerMessage(self.name, message.machine.name, message.number, answers))
            case EndMessage():
                answer = Answer(message.deferral.key, execution.end(message, self._machines))
                self._publish(PollAnswerMessage(self.name, message.machine.name, 0, [answer], ending=True))
            case ProbeMessage():
                self._publish(execution.probe(message.machine, self.name, self._machines))
            case CleanMessage():
                reason = execution.clean(message, self._machines)
                self._publish(CleanedMessage(self.name, message.machine.name, message.exp, reason))

    def _ended(self, machine: Machine, deferrals: Sequence[Deferral]) -> None:
        """An end was seen as an event: say how these tasks ended."""
        answers = execution.poll(PollMessage(machine, 0, 0.0, deferrals), self._machines, self._watcher)
        self._publish(PollAnswerMessage(self.name, machine.name, 0, answers))
