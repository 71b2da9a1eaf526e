"""A channel of the in-process broker; it works on the broker's queues, under the broker's lock."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING

from wlmctl.broker.contract import BrokerError, Delivery, Outgoing
from wlmctl.errors import WlmctlError

if TYPE_CHECKING:
    from wlmctl.broker.memory import MemoryBroker

#: A waiting message: negative priority, order of publishing, whether redelivered, body, reason and origin.
Entry = tuple[int, int, bool, bytes, str, str]


class Subscription:
    """One consumed queue of one channel."""

    __slots__ = ("credit", "gone", "unacked")

    def __init__(self, credit: int | None, gone: Callable[[], None] | None) -> None:
        self.credit, self.gone, self.unacked = credit, gone, 0

    def has_room(self) -> bool:
        """True when one more message may be given out."""
        return self.credit is None or self.unacked < self.credit


class MemoryChannel:
    """A line to the in-process broker (``wlmctl.broker.contract.Channel``)."""

    def __init__(self, broker: MemoryBroker, lost: Callable[[int], None] | None = None) -> None:
        self._broker, self._lost = broker, lost
        self._ready = threading.Condition(broker._lock)
        self._subscriptions: dict[str, Subscription] = {}
        self._ended: set[str] = set()
        self._unacked: dict[int, tuple[str, Entry]] = {}
        self._errors: list[WlmctlError] = []
        self._closed = self._is_woken = False
        self.epoch = 1

    @property
    def outstanding(self) -> int:
        """Always none: a message is there when it was sent."""
        return 0

    def declare(self, queue: str) -> None:
        """Make the queue if it is not there."""
        with self._broker._lock:
            self._broker._make(queue)
            self._broker._kept.add(queue)

    def publish(self, queue: str, body: bytes, *, priority: int = 0, timeout_s: float | None = None) -> None:  # noqa: ARG002
        """Put a message into a queue; raises ``Unroutable`` when there is no such queue."""
        self._broker._put(queue, priority, body)

    def send(self, messages: Iterable[Outgoing]) -> None:
        """Publish many; each one's ``told`` hears of its confirm or error."""
        for message in messages:
            error: WlmctlError | None = None
            try:
                if self._closed:
                    raise BrokerError("this channel of the broker is closed")
                self._broker._put(message.queue, message.priority, message.body)
            except WlmctlError as caught:
                error = caught
            if message.told is not None:
                message.told(error)
            elif error is not None:
                self._errors.append(error)

    def flush(self, timeout_s: float | None = None) -> bool:  # noqa: ARG002 (the contract's)
        """Raise the first error of a message that had no ``told``."""
        if self._errors:
            error, self._errors = self._errors[0], []
            raise error
        return True

    def consume(self, queue: str, credit: int | None, *, gone: Callable[[], None] | None = None) -> None:
        """Receive messages of the queue, at most ``credit`` unacked ones at a time."""
        with self._broker._lock:
            if queue in self._ended:
                return
            self._broker._make(queue)
            consumers = self._broker._consumers[queue]
            if credit == 0:
                self._subscriptions.pop(queue, None)
                if self in consumers:
                    consumers.remove(self)
                return
            if (known := self._subscriptions.get(queue)) is not None:
                known.credit = credit
            else:
                self._subscriptions[queue] = Subscription(credit, gone)
                consumers.append(self)
            self._ready.notify_all()

    def receive(self, timeout_s: float | None) -> Delivery | None:
        """The next message, or None after the time-out or ``close``."""
        end = None if timeout_s is None else monotonic() + timeout_s
        with self._ready:
            while not self._closed:
                if (delivery := self._take()) is not None:
                    return delivery
                left = None if end is None else end - monotonic()
                if left is not None and left <= 0:
                    return None
                if self._is_woken:
                    self._is_woken = False
                    return None
                self._ready.wait(left)
        return None

    def receive_many(self, limit: int, timeout_s: float | None) -> list[Delivery]:
        """All that has arrived, at most ``limit``; waits for the first one only."""
        found: list[Delivery] = []
        while len(found) < limit and (delivery := self.receive(timeout_s if not found else 0.0)) is not None:
            found.append(delivery)
        return found

    def wake(self) -> None:
        """Let who waits for a message return without one, now; where nobody does, whoever waits next."""
        with self._ready:
            self._is_woken = True
            self._ready.notify_all()

    def _take(self) -> Delivery | None:
        for queue, subscription in self._subscriptions.items():
            messages = self._broker._queues[queue]
            if messages and subscription.has_room():
                entry = heapq.heappop(messages)
                tag = next(self._broker._tags)
                if subscription.credit is not None:
                    self._unacked[tag] = (queue, entry)
                    subscription.unacked += 1
                if messages:
                    self._broker._wake(queue)
                return Delivery(queue, entry[3], tag, entry[2], self.epoch, entry[4], entry[5], priority=-entry[0])
        return None

    def ack(self, *deliveries: Delivery) -> None:
        """These messages are done with."""
        with self._broker._lock:
            for delivery in deliveries:
                if self._unacked.pop(delivery.tag, None) is not None:
                    self._free(delivery.queue)
                    if self._broker._queues.get(delivery.queue):
                        self._ready.notify()

    def hand_back(self, *deliveries: Delivery) -> None:
        """Give the messages back to their queue, at their old place, marked as redelivered."""
        with self._broker._lock:
            for delivery in deliveries:
                self._return(delivery.tag)

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Move the message to the dead letters, with the reason."""
        if delivery.tag in self._unacked:
            self.declare(self._broker.dead)
            self._broker._put(self._broker.dead, delivery.priority, delivery.body, reason, delivery.queue)
            self.ack(delivery)

    def _goes(self, queue: str) -> bool:
        """True where a deleted queue is told, and not made again."""
        return self._subscriptions[queue].gone is not None

    def _end(self, queue: str) -> Callable[[], None] | None:
        """The queue is deleted, and not made again, however late another credit for it comes: who is to be told."""
        self._ended.add(queue)
        return self._subscriptions.pop(queue).gone

    def _free(self, queue: str) -> None:
        if (subscription := self._subscriptions.get(queue)) is not None:
            subscription.unacked = max(0, subscription.unacked - 1)

    def _return(self, tag: int) -> None:
        if (found := self._unacked.pop(tag, None)) is not None:
            queue, (priority, order, _, body, reason, origin) = found
            self._free(queue)
            if queue in self._broker._queues:
                heapq.heappush(self._broker._queues[queue], (priority, order, True, body, reason, origin))
                self._broker._wake(queue)

    def _lose(self) -> None:
        for tag in list(self._unacked):
            self._return(tag)
        self.epoch += 1
        self._ready.notify_all()

    def close(self) -> None:
        """Hand back everything unacked and stop receiving."""
        with self._broker._lock:
            if self._closed:
                return
            self._closed = True
            self._broker._channels.remove(self)
            for queue in self._subscriptions:
                self._broker._consumers[queue].remove(self)
            self._subscriptions.clear()
            for tag in list(self._unacked):
                self._return(tag)
            self._ready.notify_all()
