"""The one thread that takes deliveries, in order: dispatches into the book, marks, and what is not for this worker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from wlmctl.broker.contract import Channel, Delivery
from wlmctl.message import (
    MarkMessage,
    ReturnedMessage,
    TaskKey,
    TaskMessage,
    UndecodableMessage,
    decode,
    encode,
    unbundle,
)
from wlmctl.queues import worker_queue
from wlmctl.worker.book import Book
from wlmctl.worker.credit import Credit
from wlmctl.worker.dispatch import Dispatch, settled, together
from wlmctl.worker.outbox import Outbox, Parcel
from wlmctl.worker.settings import WorkerSettings

log = logging.getLogger(__name__)

#: The most deliveries taken at once.
BATCH = 500

#: Seconds a dispatch of a shared queue waits here while no slot comes free, before others may have it.
BUSY_S = 0.1

#: Seconds until idle slots get what the one that was woken first has not begun with.
SPREAD_S = 0.005

#: Seconds between two looks while something may change by itself, and else.
LOOK_S, IDLE_LOOK_S = 0.05, 0.25


class Intake:
    """Takes in what the channel brings. ``emptied`` is called, again and again, when a draining worker has nothing."""

    def __init__(
        self,
        worker_id: str,
        settings: WorkerSettings,
        channel: Channel,
        book: Book,
        outbox: Outbox,
        credit: Credit,
        is_stopped: Callable[[TaskMessage], bool],
        cancelled: Callable[[Dispatch], None],
        emptied: Callable[[], None],
    ) -> None:
        self._id, self._settings, self._channel = worker_id, settings, channel
        self._book, self._outbox, self._credit = book, outbox, credit
        self._is_stopped, self._cancelled, self._emptied = is_stopped, cancelled, emptied
        self._shared = frozenset(credit.queues) - {worker_queue(settings.prefix, worker_id)}
        self.is_draining = self.is_closing = False
        self.error: Exception | None = None
        self._looked_s = self._spread_s = 0.0
        self._is_quiet = self._is_ending = False
        self._taken = self._stuck_looks = 0
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        """Begin to take."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for its end, after the channel was closed."""
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self.is_closing:
                deliveries = self._channel.receive_many(BATCH, self._pause_s())
                self._is_quiet = not deliveries
                if self.is_draining and not self._is_ending:
                    self._look()  # the shared queues are left before anything is handed back
                self._take(deliveries)
                if self._book.is_held_up:
                    self._spread()
                if monotonic() - self._looked_s >= LOOK_S:
                    self._look()
        except Exception as error:  # the broker refuses, or is closed; or a bug, and nothing is taken any more
            self.error = error

    def _spread(self) -> None:
        if (now_s := monotonic()) - self._spread_s >= SPREAD_S:
            self._spread_s = now_s
            self._book.spread()

    def _pause_s(self) -> float:
        if self._book.is_held_up:
            return SPREAD_S
        is_moving = self._book.waiting or self._book.wants_to_be_alone or self._credit.is_raised or self.is_draining
        return LOOK_S if is_moving else IDLE_LOOK_S

    def _take(self, deliveries: list[Delivery]) -> None:
        arrived, now_s = dict[TaskKey, Dispatch](), monotonic()
        for delivery in deliveries:
            tasks, marks, reason = _read(delivery)
            if reason:
                log.error("a message of %s goes to the dead letters: %s", delivery.queue, reason)
                self._channel.bury(delivery, reason)
            for dispatch in together([Dispatch(task, delivery, now_s) for task in tasks]):
                self._sort(dispatch, arrived)
            for mark in marks:
                self._book.add(list(arrived.values()))
                arrived.clear()
                self._book.marked(mark.number, delivery.epoch)
        if arrived:
            self._book.add(list(arrived.values()))
            if self._book.wants_to_be_alone:
                self._look()

    def _sort(self, dispatch: Dispatch, arrived: dict[TaskKey, Dispatch]) -> None:
        message = dispatch.message
        is_here = message.key in arrived or self._book.knows(message)
        if is_here and (not dispatch.delivery.redelivered or self._book.has_begun(message)):
            self._channel.ack(*settled([dispatch]))  # it is answered once
        elif dispatch.delivery.redelivered and self._settings.is_fleet:
            self.hand_back([dispatch], "redelivered")
        elif self._is_stopped(message) and not message.cancel:
            self._cancelled(dispatch)
        elif self.is_draining:
            self.hand_back([dispatch], "draining")
        elif self._book.wants_to_be_alone:
            self.hand_back([dispatch], "busy")
        else:
            arrived[message.key] = dispatch

    def hand_back(self, dispatches: list[Dispatch], reason: str) -> None:
        """Say that these are returned; their deliveries are acked when that is confirmed."""
        parcels = []
        for each in dispatches:
            returned = ReturnedMessage(self._id, each.message.key, each.message.nonce, reason)
            parcels.append(Parcel(encode(returned), each))
        if parcels:
            self._outbox.put(*parcels)

    def _look(self) -> None:
        """What changes by time: credit, what has waited for too long, the end of a drain."""
        now_s = self._looked_s = monotonic()
        book, credit = self._book, self._credit
        is_ending, self._is_ending = self._is_ending, self.is_draining
        if self.is_draining:  # what is in the own queue still comes, and is handed back as well
            credit.pause(self._shared, extra=BATCH)
            self.hand_back(book.take_back(), "draining")
            if is_ending and self._is_quiet:
                self._emptied()
        elif book.wants_to_be_alone:
            credit.pause(credit.queues)
            self.hand_back(book.take_back(but_alone=True), "busy")
            if self._settings.is_fleet:
                self._hand_back_old(now_s)
        else:
            credit.pause(())
            if self._settings.is_fleet and book.waiting:
                self._hand_back_stuck(now_s)
        credit.look(book.leased if self._settings.is_fleet else 0)

    def _hand_back_stuck(self, now_s: float) -> None:
        """Others may do what no slot comes free for; what is only for this worker waits as long as the broker lets.

        Several looks must have seen the slots take nothing, since a host may be too busy to run this process at all.
        """
        taken, self._taken = self._taken, self._book.taken
        self._stuck_looks = self._stuck_looks + 1 if taken == self._taken else 0
        if self._stuck_looks * LOOK_S >= BUSY_S:
            self.hand_back(self._book.take_back(queues=self._shared, before_s=now_s - BUSY_S), "busy")
        self._hand_back_old(now_s)

    def _hand_back_old(self, now_s: float) -> None:
        """What is unacked for longer than the broker lets costs the channel, with all that came on it."""
        self.hand_back(self._book.take_back(before_s=now_s - self._settings.longest_held_s), "busy")


def _read(delivery: Delivery) -> tuple[list[TaskMessage], list[MarkMessage], str]:
    """What came in a delivery, and why some of it is for no worker; that takes no others along."""
    tasks, marks, reason = list[TaskMessage](), list[MarkMessage](), ""
    try:
        bodies = unbundle(delivery.body)
    except UndecodableMessage as error:
        return [], [], str(error)
    for body in bodies:
        try:
            message = decode(body)
        except UndecodableMessage as error:
            reason = reason or str(error)
            continue
        if isinstance(message, TaskMessage):
            tasks.append(message)
        elif isinstance(message, MarkMessage):
            marks.append(message)
        else:
            reason = reason or f"a {message.kind} message in a work queue"
    return tasks, marks, reason if bodies else "an empty bundle"
