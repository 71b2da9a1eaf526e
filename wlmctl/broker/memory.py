"""The in-process broker: the same contract as RabbitMQ, for one process, with nothing installed."""

from __future__ import annotations

import heapq
import itertools
import threading
from time import monotonic

from wlmctl.broker.contract import Delivery, Unroutable


class MemoryBroker:
    """Queues of this process. Higher priority first, then in the order of publishing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._order = itertools.count(1)
        self._tags = itertools.count(1)
        self._queues: dict[str, list[tuple[int, int, bool, bytes]]] = {}
        self._consumers: dict[str, list[MemoryChannel]] = {}

    def channel(self) -> MemoryChannel:
        """A new channel."""
        return MemoryChannel(self)

    def depth(self, queue: str) -> int:
        """How many messages wait in the queue, unacked ones not counted."""
        with self._lock:
            return len(self._queues.get(queue, ()))


class MemoryChannel:
    """A line to the in-process broker (``wlmctl.broker.contract.Channel``)."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._ready = threading.Condition(broker._lock)
        self._credit: dict[str, int] = {}
        self._unacked: dict[int, tuple[str, int, int, bytes]] = {}
        self._closed = False

    def declare(self, queue: str) -> None:
        """Make the queue if it is not there."""
        with self._broker._lock:
            self._broker._queues.setdefault(queue, [])
            self._broker._consumers.setdefault(queue, [])

    def publish(self, queue: str, body: bytes, *, priority: int = 0) -> None:
        """Put a message into a queue; raises ``Unroutable`` when there is no such queue."""
        with self._broker._lock:
            messages = self._broker._queues.get(queue)
            if messages is None:
                raise Unroutable(f"no queue {queue!r}")
            heapq.heappush(messages, (-priority, next(self._broker._order), False, body))
            self._wake(queue)

    def _wake(self, queue: str) -> None:
        """Notify a consumer that has credit; the others need not wake for it."""
        for consumer in self._broker._consumers[queue]:
            if consumer._credit[queue] > 0:
                consumer._ready.notify()
                break

    def consume(self, queue: str, credit: int) -> None:
        """Receive messages of the queue, at most ``credit`` unacked ones at a time."""
        self.declare(queue)
        with self._broker._lock:
            self._credit[queue] = credit
            self._broker._consumers[queue].append(self)
            self._ready.notify_all()

    def receive(self, timeout_s: float | None) -> Delivery | None:
        """The next message, or None after the time-out or ``close``."""
        end = None if timeout_s is None else monotonic() + timeout_s
        with self._ready:
            while not self._closed:
                for queue, credit in self._credit.items():
                    messages = self._broker._queues[queue]
                    if credit > 0 and messages:
                        priority, order, redelivered, body = heapq.heappop(messages)
                        tag = next(self._broker._tags)
                        self._unacked[tag] = (queue, priority, order, body)
                        self._credit[queue] -= 1
                        if messages:
                            self._wake(queue)
                        return Delivery(queue, body, tag, redelivered)
                left = None if end is None else end - monotonic()
                if left is not None and left <= 0:
                    return None
                self._ready.wait(left)
        return None

    def ack(self, delivery: Delivery) -> None:
        """The message is done with."""
        with self._broker._lock:
            if self._unacked.pop(delivery.tag, None) is not None:
                self._credit[delivery.queue] += 1
                if self._broker._queues[delivery.queue]:
                    self._ready.notify()

    def hand_back(self, delivery: Delivery) -> None:
        """Give the message back to its queue, at its old place, marked as redelivered."""
        with self._broker._lock:
            self._return(delivery.tag)

    def _return(self, tag: int) -> None:
        entry = self._unacked.pop(tag, None)
        if entry is not None:
            queue, priority, order, body = entry
            self._credit[queue] += 1
            heapq.heappush(self._broker._queues[queue], (priority, order, True, body))
            self._wake(queue)

    def close(self) -> None:
        """Hand back everything unacked and stop receiving."""
        with self._broker._lock:
            self._closed = True
            for queue in self._credit:
                self._broker._consumers[queue].remove(self)
            for tag in list(self._unacked):
                self._return(tag)
            self._ready.notify_all()
