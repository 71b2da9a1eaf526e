"""The thread that says that the worker is alive, and what it has."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from wlmctl.broker.contract import Broker, BrokerError, Channel, LinkState, Outgoing
from wlmctl.errors import WlmctlError
from wlmctl.message import HeartbeatMessage, StepProgress, encode
from wlmctl.worker.book import Book
from wlmctl.worker.contact import Contact
from wlmctl.worker.settings import WorkerSettings

log = logging.getLogger(__name__)

#: Seconds between two looks whether the own queues are there, before the first heartbeat.
FIRST_LOOK_S = 0.02

#: Messages that nobody reads, after which beats would only fill the broker; each so many beats that is looked at.
UNREAD, LOOK_BEATS = 1000, 10


class Heartbeat:
    """Beats each ``heartbeat_s``, and at once after a connection was made; the first when the own queues are there.

    A beat is left out while there is no connection, while the one before is unconfirmed, and while no leader has read
    the results for long. ``look`` is called with each beat, also where it is left out.
    """

    def __init__(
        self,
        worker_id: str,
        settings: WorkerSettings,
        broker: Broker,
        channel: Channel,
        queue: str,
        book: Book,
        contact: Contact,
        *,
        own_queues: list[str],
        permits: Callable[[], list[str]],
        progress: Callable[[], list[StepProgress]],
        is_draining: Callable[[], bool],
        look: Callable[[], None],
    ) -> None:
        self._id, self._settings, self._broker, self._channel = worker_id, settings, broker, channel
        self._queue, self._book, self._contact, self._own_queues = queue, book, contact, own_queues
        self._permits, self._progress, self._is_draining, self._look = permits, progress, is_draining, look
        self._number = 0
        self._is_unconfirmed = self._is_unread = self._is_stopped = False
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        broker.watch(self._linked)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def hurry(self) -> None:
        """Beat now."""
        self._due.set()

    def stop(self) -> None:
        """Beat no more."""
        self._is_stopped = True
        self._due.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _linked(self, state: LinkState) -> None:
        if state.what == "connected":
            self._due.set()

    def _run(self) -> None:
        while not self._is_stopped and not self._has_queues():
            self._due.wait(FIRST_LOOK_S)
        while not self._is_stopped:
            self._due.clear()
            try:
                self._beat()
                self._look()
            except Exception:
                log.exception("a heartbeat failed")
            self._due.wait(self._settings.heartbeat_s)

    def _has_queues(self) -> bool:
        """True when the leader can send to the queues of this worker."""
        try:
            return all(self._broker.probe(queue, 1.0) is not None for queue in self._own_queues)
        except BrokerError:
            return False

    def _beat(self) -> None:
        if not self._broker.state.is_up or self._is_unconfirmed:
            return
        self._number += 1
        if self._is_unread or self._number % LOOK_BEATS == 0:
            self._look_for_leader()
            if self._is_unread:
                return
        mark, held, started, leased = self._book.listed()
        message = HeartbeatMessage(
            self._id, self._settings.info, self._number, mark, self._is_draining(), held, started, leased,
            self._permits(), self._progress(),
        )  # fmt: skip
        body = encode(message)
        self._is_unconfirmed = True
        self._channel.send([Outgoing(self._queue, body, transient=True, told=self._told)])

    def _look_for_leader(self) -> None:
        """Does somebody read the results, or is there still room for what is read later?"""
        try:
            depth = self._broker.probe(self._queue, 1.0)
        except BrokerError:
            return
        is_unread = depth is not None and not depth.consumers and depth.ready >= UNREAD
        if is_unread:
            self._contact.confirmed()  # the broker has answered
        if is_unread and not self._is_unread:
            log.warning("no orchestrator reads the results: heartbeats wait for one, steps go on")
        self._is_unread = is_unread

    def _told(self, error: WlmctlError | None) -> None:
        self._is_unconfirmed = False
        if error is None:
            self._contact.confirmed()
