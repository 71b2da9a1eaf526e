"""The contract of a broker: queues of messages, one consumer at a time each, redelivered when a consumer goes.

The in-process broker satisfies it now, RabbitMQ behind the same words: publish with confirm, consume with a
credit, ack after the result is confirmed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from wlmctl.errors import WlmctlError


class Unroutable(WlmctlError):
    """No such queue: the message was not taken (AMQP's ``mandatory``)."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message handed to one consumer, to be acked or handed back."""

    queue: str
    body: bytes
    tag: int
    redelivered: bool = False


class Channel(Protocol):
    """A connection's own line to the broker; closing it hands back what it has not acked. Safe over threads."""

    def declare(self, queue: str) -> None:
        """Make the queue if it is not there."""
        ...

    def publish(self, queue: str, body: bytes, *, priority: int = 0) -> None:
        """Put a message into a queue; returns when the broker has it. Raises ``Unroutable``."""
        ...

    def consume(self, queue: str, credit: int) -> None:
        """Receive messages of the queue, at most ``credit`` unacked ones at a time."""
        ...

    def receive(self, timeout_s: float | None) -> Delivery | None:
        """The next message of the consumed queues, higher priority first; None after the time-out or ``close``."""
        ...

    def ack(self, delivery: Delivery) -> None:
        """The message is done with."""
        ...

    def hand_back(self, delivery: Delivery) -> None:
        """Give the message back to its queue, at its front."""
        ...

    def close(self) -> None:
        """Hand back everything unacked and stop receiving."""
        ...


class Broker(Protocol):
    """Where channels come from."""

    def channel(self) -> Channel:
        """A new channel."""
        ...
