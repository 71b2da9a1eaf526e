"""What has arrived for the leader: taken off the broker, read, and acked once it has been applied."""

from __future__ import annotations

import logging
import time
from functools import lru_cache

from wlmctl.broker.contract import Channel, Delivery
from wlmctl.message import (
    AskMessage,
    CleanedMessage,
    ClosedMessage,
    GoodbyeMessage,
    HeartbeatMessage,
    HeldMessage,
    MarkMessage,
    Message,
    PermitsBackMessage,
    PollAnswerMessage,
    ProbeAnswerMessage,
    ResultMessage,
    ReturnedMessage,
    StartedMessage,
    UndecodableMessage,
    decode,
    unbundle,
)
from wlmctl.queues import queue_word

log = logging.getLogger(__name__)

#: Messages applied in one transaction, more or less.
BATCH = 500

#: What may be taken note of outside a transaction.
_QUIET = (HeartbeatMessage, MarkMessage, HeldMessage)


#: What workers say; a pulse is the leader's own.
_SAID = (
    AskMessage, CleanedMessage, ClosedMessage, GoodbyeMessage, HeartbeatMessage, HeldMessage, PermitsBackMessage,
    PollAnswerMessage, ProbeAnswerMessage, ResultMessage, ReturnedMessage, StartedMessage,
)  # fmt: skip


@lru_cache(maxsize=1024)
def _ids_of(user: str) -> str:
    """What the ids of a login's workers begin with."""
    return f"{queue_word(user)}."


def _refuse(message: Message, user: str | None) -> None:
    """Raise ``UndecodableMessage`` for what is no worker's to say, or not of the worker that it names.

    ``user`` is who published it, by the broker's own word: workers' ids begin with the login they have there.
    """
    if isinstance(message, MarkMessage):
        return
    if not isinstance(message, _SAID):
        raise UndecodableMessage(f"a {message.kind} message is no worker's to send")
    if user is not None and not (user and message.worker.startswith(_ids_of(user))):
        sender = user or "that is not known"
        raise UndecodableMessage(f"a {message.kind} message of worker {message.worker} was sent by user {sender}")


class Inbox:
    """Messages that wait to be applied, in the order in which they came.

    ``gather_s``: how long to wait for more while a good part of what is under way has not answered; ``enough`` answers
    are enough in any case.
    """

    def __init__(self, channel: Channel, *, gather_s: float, enough: int) -> None:
        self._channel, self._gather_s, self._enough = channel, gather_s, enough
        self.messages: list[Message] = []
        self._deliveries: list[Delivery] = []
        self._broken: list[tuple[Delivery, str]] = []
        self._epoch = channel.epoch

    def fill(self, wait_s: float, under_way: int) -> None:
        """Everything that has arrived; waits for a first message that must be written, then for what comes together.

        A quarter of ``under_way`` is worth a transaction, so that one task, or a chain, never waits.
        """
        until_s = time.monotonic() + wait_s
        self._take(wait_s)
        while self.messages and self.is_quiet() and (left_s := until_s - time.monotonic()) > 0:
            if not self._take(left_s):
                return
        if not self.messages or self.is_quiet():
            return
        enough = min(self._enough, under_way // 4 or 1, BATCH)
        until_s = time.monotonic() + self._gather_s
        while len(self.messages) < enough and (left_s := until_s - time.monotonic()) > 0:
            if not self._take(left_s):
                return

    def wake(self) -> None:
        """Let ``fill`` return: others have written. From any thread."""
        self._channel.wake()

    def _take(self, wait_s: float) -> bool:
        deliveries = self._channel.receive_many(BATCH, wait_s)
        for delivery in deliveries:
            if delivery.epoch == self._channel.epoch:
                self._read(delivery)
        return bool(deliveries)

    def _read(self, delivery: Delivery) -> None:
        """One bad message takes no others along: they are applied, and then the body goes to the dead letters."""
        reason = ""
        try:
            bodies = unbundle(delivery.body)
        except UndecodableMessage as error:
            bodies, reason = [], str(error)
        for body in bodies:
            try:
                message = decode(body)
                _refuse(message, delivery.user)
                self.messages.append(message)
            except UndecodableMessage as error:
                reason = reason or str(error)
        if reason:
            log.error("a message of %s goes to the dead letters: %s", delivery.queue, reason)
            self._broken.append((delivery, reason))
        else:
            self._deliveries.append(delivery)

    def is_reconnected(self) -> bool:
        """True once after each loss of the connection: what had come before it comes again, and is dropped here."""
        if self._channel.epoch == self._epoch:
            return False
        self._epoch = self._channel.epoch
        self.messages.clear()
        self._deliveries.clear()
        self._broken.clear()
        return True

    def is_quiet(self) -> bool:
        """True when nothing has come that must be written."""
        return all(isinstance(message, _QUIET) for message in self.messages)

    def settle(self) -> None:
        """All has been applied, and is in the store."""
        self.messages.clear()
        if self._deliveries:
            self._channel.ack(*self._deliveries)
            self._deliveries.clear()
        for delivery, reason in self._broken:
            self._channel.bury(delivery, reason)
        self._broken.clear()
