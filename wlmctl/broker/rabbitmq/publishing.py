"""The publishing half of a channel: a window of unconfirmed messages, sent again after a lost connection.

All runs on the link's thread. A message leaves this module by exactly one call of ``answered``.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from pika import BasicProperties, SelectConnection, spec
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker

from wlmctl.broker.contract import BrokerError, BrokerRefused, Outgoing, TooLarge, Unroutable
from wlmctl.broker.rabbitmq.contents import Writer
from wlmctl.broker.rabbitmq.errands import Errands
from wlmctl.broker.rabbitmq.faults import Fault
from wlmctl.broker.rabbitmq.link import Link
from wlmctl.broker.rabbitmq.posts import Post, StuckQueues
from wlmctl.broker.rabbitmq.topology import Topology
from wlmctl.errors import WlmctlError

log = logging.getLogger(__name__)

#: Seconds before a channel is opened again that the broker has closed.
AGAIN_S = 0.2

#: Seconds before an exchange is looked for again that is missing, and that others are to make.
MISSING_AGAIN_S = 1.0

#: Times a message is sent again for a reason that may be its own fault.
MOST_TRIES = 10

#: Times a message is refused (nacked) by one channel before another is tried.
MOST_NACKS = 2

_EXCHANGE = re.compile(r"exchange '([^']*)'")
_LIMIT = re.compile(r"larger than configured max size (\d+)")


class PublishLine:
    """Publishes in order, at most ``window`` unconfirmed messages at a time (a ``Line`` of the link)."""

    def __init__(
        self,
        link: Link,
        errands: Errands,
        topology: Topology,
        answered: Callable[[Outgoing, WlmctlError | None], None],
    ) -> None:
        self._link, self._errands, self._topology, self._answered = link, errands, topology, answered
        self._window, self._user = link.settings.window, link.address.user
        self._waiting: deque[Post] = deque()
        self._paused: list[Post] = []
        self._unconfirmed: dict[int, Post] = {}
        self._unbound: dict[str, list[Post]] = {}
        self._count = 0
        self._stuck = StuckQueues(topology.ends)
        self._connection: SelectConnection | None = None
        self._channel: Channel | None = None
        self._writer: Writer
        self._is_ready = False
        self._is_closed = False

    def send(self, posts: Iterable[Post]) -> None:
        """Publish these behind all others."""
        for post in posts:
            if self._is_closed:
                self._tell(post, BrokerError("this channel of the broker is closed"))
            elif post.message.transient and not self._link.state.is_up:
                self._tell(post, BrokerError(self._link.waits_for()))
            else:
                self._waiting.append(post)
        self._pump()

    def up(self, connection: SelectConnection) -> None:
        """A connection is there: open a channel on it."""
        self._connection = connection
        self._open()

    def down(self, reason: str) -> None:
        """The connection is gone: what was not confirmed goes out again first, in order; the transient is forgotten."""
        self._connection = None
        self._put_back(BrokerError(f"the connection to the broker was lost: {reason}"))
        state = self._link.state
        if state.what in ("refused", "closed"):
            self._fail_all(self._link.refusal or BrokerError(f"the broker's connection is closed: {reason}"))

    def tick(self, now_s: float) -> None:  # noqa: ARG002 (the line's)
        """Send again what the broker did not take, and go on after it was blocked."""
        if not self._link.is_blocked:
            stuck = self._stuck.tick(next(iter(self._unconfirmed.values()), None))
            if stuck is not None:
                self._link.drop(Fault(f"queue {stuck} takes no messages"))
                return
        if self._is_ready and any(post.nacks >= MOST_NACKS for post in self._paused):
            self._renew()
        if self._paused:
            self._waiting.extendleft(reversed(self._paused))
            self._paused.clear()
        self._pump()

    def _renew(self) -> None:
        """Publish through a new channel.

        RabbitMQ 3.10 refuses all that a channel publishes if it first did so while a quorum queue had no leader.
        """
        channel = self._channel
        for post in self._paused:
            post.nacks = 0
        self._put_back(None)
        if channel is not None and channel.is_open:
            channel.close()
        self._open()

    def close(self) -> None:
        """Give up what has not gone out, and the channel."""
        self._is_closed = True
        self._link.detach(self)
        channel, self._channel, self._is_ready = self._channel, None, False
        self._fail_all(BrokerError("this channel of the broker is closed"))
        if channel is not None and channel.is_open:
            channel.close()

    def _open(self) -> None:
        if self._connection is None or self._is_closed or not self._connection.is_open:
            return
        self._is_ready = False
        self._channel = self._connection.channel(on_open_callback=self._link.guard(self._opened))

    def _opened(self, channel: Channel) -> None:
        if self._is_closed:
            channel.close()
            return
        self._channel, self._count = channel, 0
        self._writer = Writer(channel, self._link.contents, self._user)
        channel.add_on_close_callback(self._link.guard(self._channel_closed))
        channel.add_on_return_callback(self._link.guard(self._returned))

        def confirmed(frame: Any) -> None:
            if channel is self._channel:  # and not one that was left behind
                self._confirmed(frame)

        def begin(_frame: Any) -> None:
            if channel is self._channel:
                self._is_ready = True
                self._pump()

        channel.confirm_delivery(self._link.guard(confirmed), callback=self._link.guard(begin))

    def _pump(self) -> None:
        channel = self._channel
        if not self._is_ready or channel is None or self._link.is_blocked or not channel.is_open:
            return
        while self._waiting and len(self._unconfirmed) < self._window:
            post = self._waiting.popleft()
            message = post.message
            if message.queue in self._stuck:
                self._tell(post, Unroutable(f"queue {message.queue!r} takes no messages"))
                continue
            if message.queue in self._unbound:
                self._unbound[message.queue].append(post)
                continue
            self._count += 1
            post.sent_tick = self._stuck.now
            self._unconfirmed[self._count] = post
            exchange = self._topology.exchange_of(message.queue)
            self._writer.publish(exchange, message, self._count, post.headers)

    def _confirmed(self, frame: Any) -> None:
        method = frame.method
        if method.multiple:
            tags = []
            for tag in self._unconfirmed:  # in the order of publishing
                if tag > method.delivery_tag:
                    break
                tags.append(tag)
        else:
            tags = [method.delivery_tag]
        is_taken = isinstance(method, spec.Basic.Ack)
        for tag in tags:
            if (post := self._unconfirmed.pop(tag, None)) is not None:
                if not is_taken:
                    post.nacks += 1
                    self._paused.append(post)  # a queue whose node has gone, for one: its fault is not the message's
                elif post.error is not None:
                    self._unroutable(post, post.error)
                else:
                    self._tell(post, None)
                self._bind(post.message.queue)
        self._pump()

    def _returned(self, channel: Channel, _method: Any, properties: BasicProperties, _body: bytes) -> None:
        if channel is self._channel and (post := self._unconfirmed.get(int(properties.correlation_id))) is not None:
            post.error = Unroutable(f"no queue {post.message.queue!r}")

    def _unroutable(self, post: Post, error: WlmctlError) -> None:
        """A kept queue is made again, another one bound, and the message sent again; else its sender is told."""
        post.error = None
        queue = post.message.queue
        if queue in self._topology.kept and post.tries < MOST_TRIES:
            self._errands.ask(lambda: self._topology.declare(queue), lambda _: None)
            post.tries += 1
            self._paused.append(post)
        elif post.is_bound:
            self._tell(post, error)
        else:
            self._unbound.setdefault(queue, []).append(post)

    def _bind(self, queue: str) -> None:
        """Where messages wait for that, once none is under way any more, however that ended: it would overtake."""
        if queue in self._unbound and all(post.message.queue != queue for post in self._unconfirmed.values()):
            self._errands.ask(lambda: self._topology.bind(queue), lambda said: self._bound(queue, said))

    def _bound(self, queue: str, problem: Any) -> None:
        """The messages for a queue that was not bound go out first, or their senders hear that there is none."""
        posts = self._unbound.pop(queue, [])
        for post in posts:
            post.is_bound = True
            if problem is not None:
                self._tell(post, Unroutable(f"no queue {queue!r}"))
        if problem is None:
            self._waiting.extendleft(reversed(posts))
            self._pump()

    def _channel_closed(self, channel: Channel, reason: Exception) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        if not isinstance(reason, ChannelClosedByBroker):
            return  # the connection is gone, and with it the channel: ``down`` comes next
        log.warning("the broker closed a publishing channel: %s", reason.reply_text)
        self._link.closures.tell(reason)
        text = reason.reply_text
        exchange, limit = _EXCHANGE.search(text), _LIMIT.search(text)
        for post in self._unconfirmed.values():
            post.tries += reason.reply_code != 404  # a missing exchange is nobody's fault
            size_bytes = len(post.message.body)
            if reason.reply_code == 403 and exchange and self._goes_through(post, exchange[1]):
                post.error = BrokerRefused(f"the broker refuses a message for queue {post.message.queue}: {text}")
            elif limit and size_bytes > int(limit[1]):
                post.error = TooLarge(f"a message of {size_bytes} bytes, the broker's limit is {limit[1]}")
            elif post.tries >= MOST_TRIES:
                post.error = BrokerError(f"the broker closes the channel at this message: {text}")
        self._put_back(None)
        if reason.reply_code == 404:  # an exchange is missing
            self._errands.ask(self._topology.prepare, self._prepared)
        else:
            self._link.later(AGAIN_S, self._open)

    def _prepared(self, missing: Any) -> None:
        if missing:
            self._link.later(MISSING_AGAIN_S, self._open)
        else:
            self._open()

    def _goes_through(self, post: Post, exchange: str) -> bool:
        return self._topology.exchange_of(post.message.queue) == exchange

    def _put_back(self, lost: WlmctlError | None) -> None:
        """What has no confirm waits again, before the rest; ``lost``: what the transient hear."""
        self._channel, self._is_ready = None, False
        unbound = [post for posts in self._unbound.values() for post in posts]
        back = [*unbound, *self._paused, *self._unconfirmed.values(), *(self._waiting if lost is not None else ())]
        self._unbound.clear()
        self._unconfirmed.clear()
        self._paused.clear()
        if lost is not None:
            self._waiting.clear()
        kept = []
        for post in back:
            if post.error is not None and not isinstance(post.error, Unroutable):
                self._tell(post, post.error)
            elif lost is not None and post.message.transient:
                self._tell(post, lost)
            else:
                post.error = None
                kept.append(post)
        self._waiting.extendleft(reversed(kept))

    def _fail_all(self, error: WlmctlError) -> None:
        unbound = [post for posts in self._unbound.values() for post in posts]
        posts = [*unbound, *self._unconfirmed.values(), *self._paused, *self._waiting]
        self._unbound.clear()
        self._unconfirmed.clear()
        self._paused.clear()
        self._waiting.clear()
        for post in posts:
            self._tell(post, error)

    def _tell(self, post: Post, error: WlmctlError | None) -> None:
        try:
            self._answered(post.message, error)
        except Exception:
            log.exception("whoever sent a message failed to hear of it")
