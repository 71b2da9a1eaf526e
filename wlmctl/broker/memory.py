"""The in-process broker: the same contract as RabbitMQ, for one process, with nothing installed."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

from wlmctl.broker.contract import (
    MESSAGE_LIMIT_BYTES,
    Depth,
    LinkState,
    TooLarge,
    Unroutable,
)
from wlmctl.broker.memory_channel import Entry, MemoryChannel
from wlmctl.queues import DEAD


class MemoryBroker:
    """Queues of this process. Higher priority first, then in the order of publishing."""

    def __init__(self, prefix: str = "wlm", *, message_limit_bytes: int = MESSAGE_LIMIT_BYTES) -> None:
        self.dead = DEAD.format(prefix=prefix)
        self._limit_bytes = message_limit_bytes
        self._lock = threading.Lock()
        self._order = itertools.count(1)
        self._tags = itertools.count(1)
        self._queues: dict[str, list[Entry]] = {}
        self._kept: set[str] = set()
        self._consumers: dict[str, list[MemoryChannel]] = {}
        self._channels: list[MemoryChannel] = []
        self._state = LinkState("connected", epoch=1)
        self._watchers: list[Callable[[LinkState], None]] = []

    @property
    def state(self) -> LinkState:
        """Always connected, until closed."""
        return self._state

    def watch(self, told: Callable[[LinkState], None]) -> None:
        """Tell each later state of the connection."""
        self._watchers.append(told)

    def watch_closures(self, told: Callable[[str], None]) -> None:
        """Nothing closes a channel here."""

    def channel(self, *, lost: Callable[[int], None] | None = None) -> MemoryChannel:
        """A new channel."""
        channel = MemoryChannel(self, lost)
        with self._lock:
            self._channels.append(channel)
        return channel

    def depth(self, queue: str) -> int:
        """How many messages wait in the queue, unacked ones not counted."""
        with self._lock:
            return len(self._queues.get(queue, ()))

    def probe(self, queue: str, timeout_s: float = 10.0) -> Depth | None:  # noqa: ARG002 (the contract's)
        """Look at a queue without touching it; None where there is none."""
        with self._lock:
            if queue not in self._queues:
                return None
            return Depth(len(self._queues[queue]), len(self._consumers[queue]))

    def delete(self, queue: str, timeout_s: float = 10.0) -> bool:  # noqa: ARG002 (the contract's)
        """Delete a queue and what is in it; its consumers are told, or it is made again, empty."""
        with self._lock:
            if self._queues.pop(queue, None) is None:
                return False
            told = [channel._end(queue) for channel in self._consumers[queue] if channel._goes(queue)]
            if kept := [channel for channel in self._consumers.pop(queue) if queue in channel._subscriptions]:
                self._queues[queue], self._consumers[queue] = [], kept
        for gone in told:
            if gone is not None:
                gone()
        return True

    def purge(self, queue: str, timeout_s: float = 10.0) -> int:  # noqa: ARG002 (the contract's)
        """Throw away what waits in a queue; how many messages that were."""
        with self._lock:
            count = len(self._queues.get(queue, ()))
            if count:
                self._queues[queue].clear()
            return count

    def restart(self) -> None:
        """What a broker's restart does: everything unacked is redelivered, acks of it are void."""
        self._tell(LinkState("reconnecting", "restarted", self._state.epoch))
        with self._lock:
            channels = list(self._channels)
            for channel in channels:
                channel._lose()
        self._tell(LinkState("connected", epoch=self._state.epoch + 1))
        for channel in channels:
            if channel._lost is not None:
                channel._lost(channel.epoch)

    def close(self) -> None:
        """End all channels."""
        for channel in list(self._channels):
            channel.close()
        self._tell(LinkState("closed", epoch=self._state.epoch))

    def _tell(self, state: LinkState) -> None:
        self._state = state
        for told in self._watchers:
            told(state)

    def _make(self, queue: str) -> None:
        self._queues.setdefault(queue, [])
        self._consumers.setdefault(queue, [])

    def _put(self, queue: str, priority: int, body: bytes, reason: str = "", origin: str = "") -> None:
        """Put a message into a queue. Raises ``Unroutable`` and ``TooLarge``."""
        if len(body) > self._limit_bytes:
            raise TooLarge(f"a message of {len(body)} bytes for queue {queue}, the limit is {self._limit_bytes}")
        with self._lock:
            if queue in self._kept:
                self._make(queue)
            if queue not in self._queues:
                raise Unroutable(f"no queue {queue!r}")
            heapq.heappush(self._queues[queue], (-priority, next(self._order), False, body, reason, origin))
            self._wake(queue)

    def _wake(self, queue: str) -> None:
        """Notify a consumer that has credit; the others need not wake for it."""
        for consumer in self._consumers[queue]:
            if consumer._subscriptions[queue].has_room():
                consumer._ready.notify()
                break
