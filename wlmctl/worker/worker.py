"""The worker, wired: it executes what its queues give it, and keeps nothing.

The same code serves one process with the in-process broker, where there is one worker that is always alive, and a
fleet over RabbitMQ (docs/decisions/0014).
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from time import monotonic

from wlmctl.broker.contract import Broker, BrokerError
from wlmctl.message import ClosedMessage, GoodbyeMessage, Message, Outcome, StepProgress, encode
from wlmctl.plugins import moves_data
from wlmctl.queues import RESULTS, control_queue, marks_queue, type_queue, worker_queue
from wlmctl.worker.book import Book
from wlmctl.worker.contact import Contact
from wlmctl.worker.context import ExecutionContext
from wlmctl.worker.control import Control
from wlmctl.worker.credit import Credit
from wlmctl.worker.dispatch import Dispatch, settled
from wlmctl.worker.heartbeat import Heartbeat
from wlmctl.worker.intake import Intake
from wlmctl.worker.leases import Leases
from wlmctl.worker.machines import Machines
from wlmctl.worker.outbox import Outbox, Parcel
from wlmctl.worker.permits import AskedPermits
from wlmctl.worker.settings import WorkerSettings
from wlmctl.worker.slots import Slots
from wlmctl.worker.watch import Watcher

__all__ = ["Worker", "WorkerSettings"]

log = logging.getLogger(__name__)

#: Control messages that may be here unacked.
CONTROL_CREDIT = 1_000

#: Seconds that the broker gets to confirm a goodbye, and to delete a queue.
GOODBYE_S = 5.0


class Worker:
    """One worker of one id. ``drain`` ends it in order, ``close`` at once; jobs go on in either case.

    In a fleet it asks its leader for permits where ``machines`` counts by ``AskedPermits``.
    """

    def __init__(self, worker_id: str, broker: Broker, machines: Machines, *, settings: WorkerSettings) -> None:
        self.id, self._settings, self._broker, self._machines = worker_id, settings, broker, machines
        prefix, info, self._is_fleet = settings.prefix, settings.info, settings.is_fleet
        own, control, marks = (name(prefix, worker_id) for name in (worker_queue, control_queue, marks_queue))
        results = RESULTS.format(prefix=prefix)
        self._own_queues = [own, control, marks] if self._is_fleet else [own, control]
        self.is_queue_gone = self._is_closing = False
        #: Its own queue went while it was to go on: another one is to do so.
        self.needs_successor = False
        self._reason = ""
        self._drained = threading.Event()

        self._book = Book(info.slots)
        self._work = broker.channel(lost=self._lost)
        self._orders = broker.channel()
        self._results = broker.channel()
        if not self._is_fleet:  # else they are the leader's to make, and results wait for it
            self._results.declare(results)
        self._outbox = Outbox(
            broker, self._results, results,
            is_busy=lambda: self._is_fleet and self._book.waiting > 0,
            started=lambda dispatch: self._slots.started_message(dispatch),
            settled=self._settled, too_large=self._too_large,
        )  # fmt: skip
        permits = machines.pool.budget if isinstance(machines.pool.budget, AskedPermits) else None
        self._permits = permits
        if permits is not None:
            permits.attach(worker_id, self._say)
        self._watcher = Watcher(lambda machine, deferrals: self._control.ended(machine, deferrals))
        self._contact = Contact(broker, settings.redelivery_s) if self._is_fleet else None
        queues = [own, *(type_queue(prefix, name) for name in info.types if self._is_fleet)]
        moving = [type_queue(prefix, name) for name in info.types if moves_data(name)]
        self._credit = Credit(self._work, queues, info.slots, {own: self._gone} if self._is_fleet else {}, moving, own)
        self._control = Control(
            worker_id, self._orders, self._book, machines, self._watcher, permits,
            say=self._say, cancelled=self._cancelled, drain=self.drain,
        )  # fmt: skip
        self._slots = Slots(
            worker_id, settings, self._book, self._outbox, machines, self._watcher, self._contact,
            is_stopped=self._control.is_stopped, finished=self._credit.finished,
        )  # fmt: skip
        self._intake = Intake(
            worker_id, settings, self._work, self._book, self._outbox, self._credit,
            is_stopped=self._control.is_stopped, cancelled=self._cancelled, emptied=self._emptied,
        )  # fmt: skip
        self._heartbeat: Heartbeat | None = None
        if self._contact is not None:
            leases = Leases(worker_id, settings, self._work, self._book, self._outbox)
            self._heartbeat = Heartbeat(
                worker_id, settings, broker, self._results, results, self._book, self._contact,
                own_queues=self._own_queues, permits=lambda: permits.held if permits is not None else [],
                progress=self.progress, is_draining=lambda: self._intake.is_draining, look=leases.look,
            )  # fmt: skip
            self._work.consume(marks, None, gone=self._gone)
            broker.watch_closures(self._closed)
        self._credit.look(0)
        self._orders.consume(control, CONTROL_CREDIT, gone=self._gone if self._is_fleet else None)

    def start(self) -> None:
        """Begin to work."""
        self._outbox.start()
        self._slots.start()
        self._control.start()
        self._intake.start()
        if self._heartbeat is not None:
            self._heartbeat.start()

    def executing(self) -> list[ExecutionContext]:
        """The executions under way, with how far they are."""
        return self._slots.executing()

    def progress(self) -> list[StepProgress]:
        """How far the executions under way are that say so."""
        return [told for context in self.executing() if (told := context.told()) is not None]

    def drain(self, reason: str = "") -> None:
        """Take nothing new, hand back what has not begun, finish the rest, say goodbye; ``finished`` when done."""
        self._reason = self._reason or reason
        self._intake.is_draining = True
        if self._heartbeat is not None:
            self._heartbeat.hurry()

    def finished(self) -> bool:
        """True when a drain is done."""
        return self._drained.is_set()

    def error(self) -> Exception | None:
        """What has ended it: the broker refuses, or a bug."""
        return self._intake.error

    def close(self, timeout_s: float) -> None:
        """Stop: steps under way are broken off and leave nothing half-made, jobs go on. Waits at most ``timeout_s``.

        In a fleet it says what it has broken off, while there is time; else it is as if it had been killed.
        """
        end_s = monotonic() + timeout_s
        if self._is_fleet and self._intake.error is None and not self._drained.is_set():
            self.drain("told to stop now")
            while not self._drained.wait(0.05) and monotonic() < end_s and self._intake.error is None:
                self._slots.break_off()
        self._is_closing = self._intake.is_closing = self._control.is_closing = True
        self._slots.mute()
        self._slots.break_off()
        self._book.close()
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self._work.close()
        self._orders.close()
        for part in (self._slots, self._intake, self._control):
            part.join(max(0.0, end_s - monotonic()))
        self._watcher.close()
        self._outbox.close()
        self._results.close()
        self._machines.pool.close_all()

    def _say(self, message: Message) -> None:
        if not self._is_closing:
            self._outbox.put(Parcel(encode(message)))

    def _closed(self, reason: str) -> None:
        if not self.needs_successor:  # who says it for both
            self._say(ClosedMessage(self.id, reason))

    def _settled(self, dispatches: list[Dispatch]) -> None:
        """Their last messages are confirmed. Those that are leased are acked already, which does no harm."""
        self._book.settled(dispatches)
        # point 1: said, not acked
        self._work.ack(*settled(dispatches))
        # point 2: acked

    def _cancelled(self, dispatch: Dispatch) -> None:
        self._slots.answer(dispatch, Outcome("cancelled", reason="cancelled"))

    def _too_large(self, parcel: Parcel, reason: str) -> None:
        dispatch = parcel.dispatch
        if dispatch is None:
            log.error("a message cannot be sent: %s", reason)
            return
        failed = Outcome("failed", reason=f"the result cannot be sent: {reason}", failure_class="user")
        self._slots.answer(dispatch, failed)

    def _lost(self, epoch: int) -> None:
        """What was delivered on the lost connection and has not begun belongs to others now."""
        self._book.forget(epoch)
        if self._heartbeat is not None:
            self._heartbeat.hurry()

    def _gone(self) -> None:
        """An own queue was deleted, by the leader or with the broker's data: nobody can reach this id any more."""
        if self._is_closing or self._drained.is_set() or self.is_queue_gone:
            return
        self.is_queue_gone, self.needs_successor = True, not self._intake.is_draining
        log.warning("the queue of worker %s is gone: it finishes what it has begun", self.id)
        if self._permits is not None:
            self._permits.deafen()
        if self._contact is not None and self._contact.is_silent:
            self._slots.break_off()  # others may do it by now, and no order to stop could come
        self.drain("its queue is gone")

    def _emptied(self) -> None:
        """All is handed back or finished, where that is so: say goodbye."""
        is_empty = self._book.is_empty() and self._control.is_idle
        if not is_empty or self._drained.is_set() or not self._outbox.flush(0.0):
            return
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._machines.pool.close_all()  # whose permits go back before it is gone
            is_known = threading.Event()
            goodbye = encode(GoodbyeMessage(self.id, self._reason))
            self._outbox.put(Parcel(goodbye, confirmed=is_known.set))
            if is_known.wait(GOODBYE_S):
                self._delete_queues()
        self._drained.set()

    def _delete_queues(self) -> None:
        self._is_closing = True
        for queue in self._own_queues:
            channel = self._orders if queue == control_queue(self._settings.prefix, self.id) else self._work
            channel.consume(queue, 0)
        for delete in (partial(self._broker.delete, queue, GOODBYE_S) for queue in self._own_queues):
            try:
                delete()
            except BrokerError as error:
                log.info("an own queue stays behind: %s", error)
