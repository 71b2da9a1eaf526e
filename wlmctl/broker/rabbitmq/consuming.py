"""The consuming half of a channel: subscriptions kept alive through whatever the broker does to them.

All but ``Inbox`` runs on the link's thread. Each AMQP channel it opens is an epoch: deliveries of an older one are
void, since the broker has given them to others.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any

from pika import SelectConnection
from pika.channel import Channel
from pika.exceptions import ChannelClosed, ChannelClosedByBroker
from pika.spec import Basic

from wlmctl.broker.contract import Delivery, Depth
from wlmctl.broker.rabbitmq.acks import ack
from wlmctl.broker.rabbitmq.contents import Properties, unseen
from wlmctl.broker.rabbitmq.dead_letters import reason_and_origin
from wlmctl.broker.rabbitmq.errands import NO_ANSWER, PATIENCE_TICKS, Errands
from wlmctl.broker.rabbitmq.faults import Fault
from wlmctl.broker.rabbitmq.inbox import Inbox
from wlmctl.broker.rabbitmq.link import Link
from wlmctl.broker.rabbitmq.subscription import Subscription
from wlmctl.broker.rabbitmq.topology import Topology

log = logging.getLogger(__name__)

#: Seconds before a channel or consumer that the broker has ended is made again.
AGAIN_S = 0.2

_QUEUE = re.compile(r"queue '([^']*)'")


class ConsumeLine:
    """Consumes for one channel (a ``Line`` of the link)."""

    def __init__(
        self, link: Link, errands: Errands, topology: Topology, inbox: Inbox, lost: Callable[[int], None] | None
    ) -> None:
        self._link, self._errands, self._topology, self._inbox = link, errands, topology, inbox
        self._lost = lost
        self.epoch = 0
        self._subscriptions: dict[str, Subscription] = {}
        #: Queues whose end was told: they are not made again, however late another credit for them comes.
        self._ended: set[str] = set()
        self._unacked: dict[int, tuple[Subscription, str]] = {}
        #: By consumer, those that are being cancelled included.
        self._served: dict[str, Subscription] = {}
        self._connection: SelectConnection | None = None
        self._channel: Channel | None = None
        self._is_closed = False

    def consume(self, queue: str, credit: int | None, gone: Callable[[], None] | None) -> None:
        """Come to this credit for the queue."""
        if (known := self._subscriptions.get(queue)) is not None:
            known.credit = credit
            self._settle(known)
        elif credit != 0 and queue not in self._ended:
            self._subscriptions[queue] = subscription = Subscription(queue, credit, gone)
            if self._channel is not None:
                self._subscribe(subscription)
            elif self._connection is not None:
                self._open()

    def settle(self, deliveries: list[Delivery], *, is_done: bool) -> None:
        """Ack these deliveries, or hand them back."""
        tags = [found.tag for found in deliveries if found.epoch == self.epoch and found.tag in self._unacked]
        channel = self._channel
        if not tags or channel is None or not channel.is_open:
            return
        if is_done:
            ack(channel, self._unacked, set(tags))
        else:
            for tag in sorted(tags, reverse=True):  # each goes to the front
                channel.basic_nack(tag, requeue=True)
        touched = dict[str, Subscription]()
        for tag in tags:
            subscription, consumer = self._unacked.pop(tag)
            subscription.acked(consumer)
            touched[subscription.queue] = subscription
        for subscription in touched.values():
            if subscription.orphans or subscription.credit is not None:
                self._settle(subscription)

    def up(self, connection: SelectConnection) -> None:
        """A connection is there."""
        self._connection = connection
        for subscription in self._subscriptions.values():
            subscription.is_refused = False
        if self._subscriptions:
            self._open()

    def down(self, reason: str) -> None:
        """The connection is gone."""
        self._connection = None
        self._void(reason)
        if self._link.state.what in ("refused", "closed"):
            self._inbox.close()

    def tick(self, now_s: float) -> None:
        """Look at what has long brought nothing, though it could: does its queue have messages?"""
        for subscription in list(self._subscriptions.values()):
            if not self._link.is_blocked and subscription.waits_too_long(PATIENCE_TICKS):
                self._give_up(subscription)
                continue
            wait_s = self._link.settings.zombie_s
            is_idle = subscription.consumers and subscription.has_room() and not subscription.is_looking
            if is_idle and now_s - subscription.served_at_s >= wait_s:
                self._look(subscription)

    def close(self) -> None:
        """Give everything back to the broker."""
        self._is_closed = True
        self._link.detach(self)
        channel, self._channel = self._channel, None
        if channel is not None and channel.is_open:
            self._link.contents.takers.pop(channel.channel_number, None)
            channel.close()

    def _open(self) -> None:
        if self._connection is None or self._is_closed or not self._connection.is_open:
            return
        self._connection.channel(on_open_callback=self._link.guard(self._opened))

    def _opened(self, channel: Channel) -> None:
        if self._is_closed or self._channel is not None:
            channel.close()
            return
        self._channel = channel
        channel.add_on_close_callback(self._link.guard(self._channel_closed))
        channel.add_on_cancel_callback(self._link.guard(self._cancelled))
        channel.add_callback(self._link.guard(self._left), [Basic.CancelOk], one_shot=False)
        self._link.contents.takers[channel.channel_number] = self._link.guard(self._delivered)
        for subscription in list(self._subscriptions.values()):
            self._subscribe(subscription)

    def _subscribe(self, subscription: Subscription) -> None:
        """Make the queue if need be, then consume. One whose end is to be told is made only the first time."""
        queue, topology, epoch = subscription.queue, self._topology, self.epoch

        def go_on(said: Any) -> None:
            if epoch != self.epoch or self._subscriptions.get(queue) is not subscription:
                return
            if not isinstance(said, ChannelClosed):
                subscription.served_at_s = time.monotonic()
                subscription.is_known, subscription.waits_for = True, ""
                self._settle(subscription)
            elif subscription.gone is not None and said.reply_code in (404, NO_ANSWER):
                log.warning("queue %s is gone%s", queue, "" if said.reply_code == 404 else f": {said.reply_text}")
                self._end(subscription)
            else:
                if subscription.waits_for != said.reply_text:
                    log.warning("queue %s cannot be consumed now: %s", queue, said.reply_text)
                subscription.waits_for = said.reply_text
                self._link.later(1.0, lambda: self._again(subscription))

        script = topology.look if subscription.gone is not None and subscription.is_known else topology.declare
        self._errands.ask(lambda: script(queue), go_on)

    def _give_up(self, subscription: Subscription) -> None:
        """A queue that takes no consumer is gone for whoever wants to hear of it."""
        log.warning("queue %s takes no consumer", subscription.queue)
        if subscription.gone is not None:
            self._end(subscription)
            self._link.drop(Fault(f"queue {subscription.queue} takes no consumer"))

    def _end(self, subscription: Subscription) -> None:
        """The queue is not made again."""
        del self._subscriptions[subscription.queue]
        self._ended.add(subscription.queue)
        if subscription.gone is not None:
            subscription.gone()

    def _again(self, subscription: Subscription) -> None:
        if self._subscriptions.get(subscription.queue) is subscription and self._channel is not None:
            self._subscribe(subscription)

    def _settle(self, subscription: Subscription) -> None:
        """Cancel and add consumers as the credit wants it."""
        channel = self._channel
        if channel is None or not channel.is_open or subscription.is_refused:
            return
        plan = subscription.plan()
        for consumer in plan.cancel:
            self._cancel(channel, consumer.tag)
        if plan.add is not None:
            is_free = plan.add.credit == 0
            if not is_free:
                channel.basic_qos(prefetch_count=min(plan.add.credit, 65535))
            self._served[plan.add.tag] = subscription
            channel.basic_consume(
                subscription.queue,
                unseen,
                auto_ack=is_free,
                consumer_tag=plan.add.tag,
                callback=self._link.guard(plan.add.answered),
            )
        if subscription.credit == 0 and self._subscriptions.get(subscription.queue) is subscription:
            del self._subscriptions[subscription.queue]  # the queue may have a newer one, while this has orphans

    def _cancel(self, channel: Channel, tag: str) -> None:
        """What is on its way to the consumer still comes, before the answer."""
        channel.basic_cancel(tag, lambda _: None)  # pika would call it with the answer about any consumer

    def _left(self, frame: Any) -> None:
        """The broker has cancelled a consumer as it was told."""
        self._served.pop(frame.method.consumer_tag, None)

    def _delivered(self, consumer: str, tag: int, is_redelivered: bool, about: Properties, body: bytes) -> None:
        subscription, channel = self._served.get(consumer), self._channel
        if subscription is None or channel is None:
            return
        queue = subscription.queue
        if len(body) > self._link.settings.message_limit_bytes and queue != self._topology.dead:
            log.error("a message of %d bytes in %s is over the limit: to the dead letters", len(body), queue)
            if subscription.credit is not None:
                channel.basic_reject(tag, requeue=False)
            return
        if subscription.credit is None:
            subscription.served_at_s = time.monotonic()
        else:
            subscription.delivered(consumer, time.monotonic())
            self._unacked[tag] = (subscription, consumer)
        reason, origin = reason_and_origin(about.headers) if about.headers else ("", "")
        epoch, user, priority = self.epoch, about.user, about.priority
        self._inbox.put(Delivery(queue, body, tag, is_redelivered, epoch, reason, origin, user, priority))

    def _cancelled(self, frame: Any) -> None:
        """The broker has ended a consumer: its queue was deleted, or has moved."""
        for subscription in self._subscriptions.values():
            if frame.method.consumer_tag in subscription.consumers:
                log.warning("the broker cancelled a consumer of %s", subscription.queue)
                subscription.drop(frame.method.consumer_tag)
                self._served.pop(frame.method.consumer_tag, None)
                self._subscribe(subscription)
                return

    def _channel_closed(self, channel: Channel, reason: Exception) -> None:
        if channel is not self._channel or not isinstance(reason, ChannelClosedByBroker):
            return
        self._link.closures.tell(reason)
        if reason.reply_code == 406 and "timed out" in reason.reply_text:
            log.error("a message was held for longer than the broker's ack time-out: %s", reason.reply_text)
        elif reason.reply_code == 403 and (refused := self._refused(reason.reply_text)) is not None:
            refused.is_refused = True  # until the next connection, lest it costs the others their deliveries again
            advice = "what each part needs: deploy/rabbitmq/permissions.sh"
            log.error("queue %s is not consumed: %s (%s)", refused.queue, reason.reply_text, advice)
        else:
            log.warning("the broker closed a consuming channel: %s", reason.reply_text)
        self._void(reason.reply_text)
        self._link.later(AGAIN_S, self._open)

    def _refused(self, text: str) -> Subscription | None:
        found = _QUEUE.search(text)
        return self._subscriptions.get(found[1]) if found else None

    def _void(self, reason: str) -> None:
        """All that was delivered and not acked belongs to others now."""
        had_channel, self._channel = self._channel is not None, None
        self._unacked.clear()
        self._served.clear()
        for subscription in self._subscriptions.values():
            subscription.reset()
        if had_channel:
            self.epoch += 1
            self._inbox.clear()
            if self._lost is not None:
                log.debug("deliveries are void: %s", reason)
                self._lost(self.epoch)

    def _look(self, subscription: Subscription) -> None:
        subscription.is_looking = True
        epoch, served_at_s = self.epoch, subscription.served_at_s

        def judge(said: Any) -> None:
            subscription.is_looking = False
            if epoch != self.epoch or subscription.served_at_s != served_at_s:
                return
            if not isinstance(said, Depth) or not said.ready:
                subscription.is_suspect = False
                subscription.served_at_s = time.monotonic()
            elif not subscription.is_suspect:
                subscription.is_suspect = True  # a second look, at the next tick, tells a race from the dead
            else:
                log.warning("%s has %d messages and brings none: consuming anew", subscription.queue, said.ready)
                for tag in list(subscription.consumers):
                    subscription.drop(tag)
                    if self._channel is not None and self._channel.is_open:
                        self._cancel(self._channel, tag)
                self._subscribe(subscription)

        self._errands.ask(lambda: self._topology.probe(subscription.queue), judge)
