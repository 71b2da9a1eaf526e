"""The contract of a broker: queues of messages, one consumer at a time each, redelivered when a consumer goes.

``memory://`` and RabbitMQ satisfy it alike: publish with confirm, consume with a credit, ack after the result is
confirmed. Nothing here is the truth: a broker may lose everything, and no task with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from wlmctl.errors import Unusable, WlmctlError

#: The highest priority of a message. Quorum queues know none.
HIGHEST_PRIORITY = 10

#: The most bytes of one message, where nothing else is set.
MESSAGE_LIMIT_BYTES = 16 * 2**20


class Unroutable(WlmctlError):
    """No such queue: the message was not taken (AMQP's ``mandatory``)."""


class TooLarge(WlmctlError):
    """The message is larger than the limit: it was not sent."""


class BrokerError(Unusable):
    """The broker cannot be used now, or no longer: closed, lost, or not reached in time."""


class BrokerRefused(BrokerError):
    """The broker answered and refuses: login, vhost, TLS or a permission. Waiting does not help."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """How it stands with the connection. ``epoch`` counts connections from 1; 0: never connected."""

    what: Literal["connecting", "connected", "blocked", "reconnecting", "refused", "closed"]
    reason: str = ""
    epoch: int = 0

    @property
    def is_up(self) -> bool:
        """True while messages come; while ``blocked`` none can be published."""
        return self.what in ("connected", "blocked")


@dataclass(slots=True, eq=False)  # not frozen: that would take five times as long to make
class Delivery:
    """One message handed to one consumer, to be acked or handed back; void once its channel's epoch is another."""

    queue: str
    body: bytes
    tag: int
    redelivered: bool = False
    epoch: int = 0
    #: Why it is a dead letter, and the queue it came from.
    reason: str = ""
    origin: str = ""
    #: Who published it, by the broker's own word; empty where it does not know, None where it knows no users.
    user: str | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Depth:
    """What a probe sees of a queue: messages that wait (unacked ones not counted) and consumers."""

    ready: int
    consumers: int


#: Is told the error of one message, or None for its confirm: once, on the broker's thread, so it must be quick.
Told = Callable[[WlmctlError | None], None]


@dataclass(slots=True)  # not frozen: that would take three times as long to make
class Outgoing:
    """One message to publish. ``transient``: not written to disk, and forgotten when the connection is lost."""

    queue: str
    body: bytes
    priority: int = 0
    transient: bool = False
    told: Told | None = None


class Channel(Protocol):
    """An own line to the broker; closing it hands back what it has not acked. Safe over threads.

    Messages of one channel arrive in the order they were sent; after a lost connection what was not confirmed is
    sent again, in order. Every call that waits raises ``BrokerRefused`` once the broker has refused.
    """

    @property
    def epoch(self) -> int:
        """Rises when all that this channel holds unacked has been given to others: acks of it are then ignored."""
        ...

    def declare(self, queue: str) -> None:
        """Make the durable queue if it is not there; it is made again whenever it is found missing."""
        ...

    def publish(self, queue: str, body: bytes, *, priority: int = 0, timeout_s: float | None = None) -> None:
        """Put a message into a queue; returns when the broker has it.

        Raises ``Unroutable`` and ``TooLarge``; after the time-out ``BrokerError``, and it may still be published.
        """
        ...

    def send(self, messages: Iterable[Outgoing]) -> None:
        """Publish many without waiting; each one's ``told`` hears of its confirm or error."""
        ...

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until all that was sent is confirmed; False after the time-out.

        Raises the first error of a message that had no ``told``.
        """
        ...

    @property
    def outstanding(self) -> int:
        """How many messages were sent and are not confirmed."""
        ...

    def consume(self, queue: str, credit: int | None, *, gone: Callable[[], None] | None = None) -> None:
        """Receive messages of the queue, at most ``credit`` unacked ones at a time; called again: another credit.

        0 stops it. A lower credit counts for further messages, what is already out stays. None: without credit and
        without ack, for what may be lost. ``gone``: is called, and the queue is not made again, if it is deleted.
        """
        ...

    def receive(self, timeout_s: float | None) -> Delivery | None:
        """The next message of the consumed queues, higher priority first; None after the time-out or ``close``."""
        ...

    def receive_many(self, limit: int, timeout_s: float | None) -> list[Delivery]:
        """All that has arrived, at most ``limit``; waits for the first one only."""
        ...

    def wake(self) -> None:
        """Let who waits for a message return without one, now; where nobody does, whoever waits next."""
        ...

    def ack(self, *deliveries: Delivery) -> None:
        """These messages are done with."""
        ...

    def hand_back(self, *deliveries: Delivery) -> None:
        """Give the messages back to their queue, at its front (a quorum queue: behind what is on its way)."""
        ...

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Move the message to the dead letters, with the reason; acked when they have it."""
        ...

    def close(self) -> None:
        """Hand back everything unacked and stop receiving."""
        ...


class Broker(Protocol):
    """Where channels come from."""

    @property
    def state(self) -> LinkState:
        """How it stands with the connection now."""
        ...

    def watch(self, told: Callable[[LinkState], None]) -> None:
        """Tell each later state of the connection, on the broker's thread."""
        ...

    def watch_closures(self, told: Callable[[str], None]) -> None:
        """Tell why, each time the broker closes a channel with 406, as for a message held too long; on its thread."""
        ...

    def channel(self, *, lost: Callable[[int], None] | None = None) -> Channel:
        """A new channel; ``lost`` hears each new epoch of it."""
        ...

    def probe(self, queue: str, timeout_s: float = 10.0) -> Depth | None:
        """Look at a queue without touching it; None where there is none. Raises ``BrokerError``."""
        ...

    def delete(self, queue: str, timeout_s: float = 10.0) -> bool:
        """Delete a queue and what is in it; False where there is none. Raises ``BrokerError``."""
        ...

    def purge(self, queue: str, timeout_s: float = 10.0) -> int:
        """Throw away what waits in a queue; how many messages that were. Raises ``BrokerError``."""
        ...

    def close(self) -> None:
        """End all channels and the connection."""
        ...
