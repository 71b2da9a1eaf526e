"""RabbitMQ as a ``Broker``: what other threads call; each call crosses to the link's thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from pika.exceptions import ChannelClosed

from wlmctl.broker.contract import (
    BrokerError,
    BrokerRefused,
    Delivery,
    Depth,
    LinkState,
    Outgoing,
    TooLarge,
)
from wlmctl.broker.rabbitmq.consuming import ConsumeLine
from wlmctl.broker.rabbitmq.dead_letters import ORIGIN, REASON
from wlmctl.broker.rabbitmq.errands import Errands
from wlmctl.broker.rabbitmq.inbox import Inbox
from wlmctl.broker.rabbitmq.link import Link
from wlmctl.broker.rabbitmq.posts import Post
from wlmctl.broker.rabbitmq.publishing import PublishLine
from wlmctl.broker.rabbitmq.settings import RabbitSettings
from wlmctl.broker.rabbitmq.topology import Topology
from wlmctl.errors import WlmctlError

#: Seconds between two tries to declare a queue that cannot be made now.
AGAIN_S = 1.0

#: The most characters of a dead letter's reason.
REASON_LENGTH = 1000


class RabbitBroker:
    """One connection, made in the background; comes back by itself (``wlmctl.broker.contract.Broker``).

    Raises ``ConfigError`` for a URL that is none.
    """

    def __init__(self, settings: RabbitSettings) -> None:
        self._link = Link(settings)
        self._topology = Topology(settings, len(self._link.address.hosts))
        self._errands = Errands(self._link)
        self._link.call(lambda: self._link.attach(self._errands))
        self._link.start(self._prepare)

    @property
    def state(self) -> LinkState:
        """How it stands with the connection now."""
        return self._link.state

    def watch(self, told: Callable[[LinkState], None]) -> None:
        """Tell each later state of the connection, on the link's thread."""
        self._link.watch(told)

    def watch_closures(self, told: Callable[[str], None]) -> None:
        """Tell why, each time the broker closes a channel with 406, on the link's thread."""
        self._link.closures.watch(told)

    def wait_connected(self, timeout_s: float | None = None) -> bool:
        """Wait for a connection; False after the time-out. Raises ``BrokerRefused``, ``BrokerError`` when closed."""
        return self._link.wait_connected(timeout_s)

    def channel(self, *, lost: Callable[[int], None] | None = None) -> RabbitChannel:
        """A new channel."""
        return RabbitChannel(self._link, self._errands, self._topology, lost)

    def probe(self, queue: str, timeout_s: float = 10.0) -> Depth | None:
        """Look at a queue without touching it; None where there is none."""
        found: Depth | None = self._ask(lambda: self._topology.probe(queue), queue, timeout_s)
        return found

    def delete(self, queue: str, timeout_s: float = 10.0) -> bool:
        """Delete a queue and what is in it; False where there is none."""
        return bool(self._ask(lambda: self._topology.delete(queue), queue, timeout_s))

    def purge(self, queue: str, timeout_s: float = 10.0) -> int:
        """Throw away what waits in a queue; how many messages that were."""
        return int(self._ask(lambda: self._topology.purge(queue), queue, timeout_s))

    def close(self) -> None:
        """End all channels and the connection."""
        self._link.close()

    def _ask(self, script: Callable[[], Any], queue: str, timeout_s: float) -> Any:
        said = self._errands.answer(script, timeout_s)
        if isinstance(said, ChannelClosed):
            error = BrokerRefused if said.reply_code == 403 else BrokerError
            raise error(f"queue {queue}: {said.reply_text}")
        return said

    def _prepare(self, ready: Callable[[], None]) -> None:
        assert self._link.connection is not None

        def go_on(missing: str) -> None:
            """A worker's user may not make what is shared: it waits until an orchestrator has."""
            if not missing:
                ready()
                return
            self._link.wait_for(f"{missing} is not there yet, and user {self._link.address.user!r} may not make it")
            self._link.later(AGAIN_S, lambda: self._prepare(ready))

        self._errands.begin(self._link.connection, self._topology.prepare, go_on)


class RabbitChannel:
    """An own line to the broker (``wlmctl.broker.contract.Channel``); AMQP channels of its own for each direction."""

    def __init__(
        self, link: Link, errands: Errands, topology: Topology, lost: Callable[[int], None] | None = None
    ) -> None:
        self._link, self._errands, self._topology = link, errands, topology
        self._limit_bytes = link.settings.message_limit_bytes
        self._inbox = Inbox()
        self._consuming = ConsumeLine(link, errands, topology, self._inbox, lost)
        self._publishing = PublishLine(link, errands, topology, self._answer)
        self._sent = threading.Condition()
        self._outstanding = 0
        self._errors: list[WlmctlError] = []
        self._is_closed = False
        link.call(lambda: link.attach(self._publishing))
        link.call(lambda: link.attach(self._consuming))

    @property
    def epoch(self) -> int:
        """Rises when all that this channel holds unacked has been given to others."""
        return self._consuming.epoch

    @property
    def outstanding(self) -> int:
        """How many messages were sent and are not confirmed."""
        return self._outstanding

    def declare(self, queue: str) -> None:
        """Make the durable queue if it is not there; it is made again whenever it is found missing."""
        self._link.call(lambda: self._topology.kept.add(queue))
        while (said := self._errands.answer(lambda: self._topology.declare(queue), None)) is not None:
            if said.reply_code != 404:
                error = BrokerRefused if said.reply_code == 403 else BrokerError
                raise error(f"queue {queue} cannot be made: {said.reply_text}")
            threading.Event().wait(AGAIN_S)  # its node is down: it comes back

    def publish(self, queue: str, body: bytes, *, priority: int = 0, timeout_s: float | None = None) -> None:
        """Put a message into a queue; returns when the broker has it."""
        if self._link.is_own_thread:
            raise RuntimeError("the broker's thread must not wait for itself")
        self._check()
        heard: list[WlmctlError | None] = []
        is_heard = threading.Event()

        def told(error: WlmctlError | None) -> None:
            heard.append(error)
            is_heard.set()

        self.send([Outgoing(queue, body, priority, told=told)])
        if not self._link.patiently(is_heard.wait, timeout_s):
            raise BrokerError(f"no confirm within {timeout_s:g} s: {self._link.waits_for()}")
        if heard[0] is not None:
            raise heard[0]

    def send(self, messages: Iterable[Outgoing]) -> None:
        """Publish many without waiting; each one's ``told`` hears of its confirm or error."""
        self._send([Post(message) for message in messages])

    def _send(self, posts: list[Post]) -> None:
        taken = []
        with self._sent:
            self._outstanding += len(posts)
        for post in posts:
            message = post.message
            if len(message.body) > self._limit_bytes:
                limit = f"the limit is {self._limit_bytes}"
                error = TooLarge(f"a message of {len(message.body)} bytes for queue {message.queue}, {limit}")
                self._answer(message, error)
            elif self._is_closed or self._link.refusal is not None or self._link.state.what == "closed":
                self._answer(message, self._link.refusal or BrokerError("this channel of the broker is closed"))
            else:
                taken.append(post)
        if taken:
            self._link.call(lambda: self._publishing.send(taken))

    def _answer(self, message: Outgoing, error: WlmctlError | None) -> None:
        with self._sent:
            self._outstanding -= 1
            if error is not None and message.told is None:
                self._errors.append(error)
            if not self._outstanding:
                self._sent.notify_all()
        if message.told is not None:
            message.told(error)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until all that was sent is confirmed; False after the time-out."""
        if self._link.is_own_thread:
            raise RuntimeError("the broker's thread must not wait for itself")
        is_done = self._link.patiently(self._flushed, timeout_s)
        with self._sent:
            if self._errors:
                error, self._errors = self._errors[0], []
                raise error
        return is_done

    def _flushed(self, timeout_s: float) -> bool:
        with self._sent:
            return self._sent.wait_for(lambda: not self._outstanding, timeout_s)

    def consume(self, queue: str, credit: int | None, *, gone: Callable[[], None] | None = None) -> None:
        """Receive messages of the queue, at most ``credit`` unacked ones at a time; called again: another credit."""
        self._check()
        self._link.call(lambda: self._consuming.consume(queue, credit, gone))

    def receive(self, timeout_s: float | None) -> Delivery | None:
        """The next message of the consumed queues; None after the time-out or ``close``."""
        found = self.receive_many(1, timeout_s)
        return found[0] if found else None

    def receive_many(self, limit: int, timeout_s: float | None) -> list[Delivery]:
        """All that has arrived, at most ``limit``; waits for the first one only."""
        try:
            taken = self._link.patiently(lambda left_s: self._take(limit, left_s), timeout_s)
            return taken[0] if taken is not None else []
        except BrokerRefused:
            if not self._is_closed:
                raise
        except BrokerError:  # closed
            pass
        return []

    def _take(self, limit: int, timeout_s: float) -> tuple[list[Delivery]] | None:
        """What has arrived; in a tuple, since nothing is an answer too where somebody was woken."""
        found = self._inbox.take(limit, timeout_s)
        if not found and self._inbox.is_closed:
            self._link.check()
            raise BrokerError("this channel of the broker is closed")
        return None if found is None else (found,)

    def wake(self) -> None:
        """Let who waits for a message return without one, now; where nobody does, whoever waits next."""
        self._inbox.wake()

    def ack(self, *deliveries: Delivery) -> None:
        """These messages are done with."""
        self._settle(deliveries, is_done=True)

    def hand_back(self, *deliveries: Delivery) -> None:
        """Give the messages back to their queue, at its front."""
        self._settle(deliveries, is_done=False)

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Move the message to the dead letters, with the reason; acked when they have it."""
        dead = self._topology.dead

        def told(error: WlmctlError | None) -> None:
            if error is None:
                self._consuming.settle([delivery], is_done=True)

        post = Post(
            Outgoing(dead, delivery.body, delivery.priority, told=told),
            {REASON: reason[:REASON_LENGTH], ORIGIN: delivery.queue},
        )
        self._send([post])

    def close(self) -> None:
        """Hand back everything unacked and stop receiving."""
        self._is_closed = True
        self._inbox.close()
        self._link.call(self._consuming.close)
        self._link.call(self._publishing.close)

    def _settle(self, deliveries: tuple[Delivery, ...], *, is_done: bool) -> None:
        settled = list(deliveries)
        self._link.call(lambda: self._consuming.settle(settled, is_done=is_done))

    def _check(self) -> None:
        self._link.check()
        if self._is_closed:
            raise BrokerError("this channel of the broker is closed")
