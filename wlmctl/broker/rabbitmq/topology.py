"""The exchanges and queues of a deployment, as scripts of the steps that look at, make and delete them.

Everything is looked for passively first, which needs no permission, and made only where it is missing: a worker's
user may not configure what is shared. Publishing goes through four named exchanges, since permission to write to
the default exchange would be permission to write to every queue. A worker's queue is bound by who first sends to it,
since permission to bind from an exchange would be permission to read all that goes through it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from pika.channel import Channel
from pika.exceptions import ChannelClosed

from wlmctl.broker.contract import HIGHEST_PRIORITY, Depth
from wlmctl.broker.rabbitmq.errands import Script, Step
from wlmctl.broker.rabbitmq.settings import RabbitSettings

log = logging.getLogger(__name__)

#: RabbitMQ 4 gives up what was delivered 20 times, if a quorum queue says nothing else: who looks at the dead letters
#: would lose them so. Without bounds: what is poison the leader decides. RabbitMQ 3 takes no -1; where it has a limit,
#: it also puts what is handed back before the rest, and not behind it.
DELIVERY_LIMIT = 1_000_000

EXCHANGES = ("work", "results", "control", "dead")


class Topology:
    """What a deployment with this prefix has in its vhost. Names of queues are their routing keys."""

    def __init__(self, settings: RabbitSettings, hosts: int) -> None:
        self._prefix = settings.prefix
        wanted = settings.queue_type
        self.queue_type = ("quorum" if hosts > 1 else "classic") if wanted == "auto" else wanted
        #: Where all that workers say arrives: nothing else can take its place.
        self.ends = frozenset((f"{settings.prefix}.dead", f"{settings.prefix}.results"))
        #: Queues that are made again whenever they are missing; used by the link's thread alone.
        self.kept: set[str] = set(self.ends)
        self._may_bind = True

    @property
    def dead(self) -> str:
        """The queue of dead letters."""
        return f"{self._prefix}.dead"

    @functools.cache  # noqa: B019 (a topology lives as long as its process, and has few queues)
    def exchange_of(self, queue: str) -> str:
        """The exchange through which a queue is reached."""
        name = queue.removeprefix(f"{self._prefix}.")
        for exchange in ("results", "dead"):
            if name == exchange or name.startswith(f"{exchange}."):
                return f"{self._prefix}.{exchange}"
        is_control = name.startswith("worker.") and name.endswith(".control")
        return f"{self._prefix}.{'control' if is_control else 'work'}"

    def prepare(self) -> Script:
        """Make what is missing of the exchanges and the kept queues; returns what is missing and not ours to make."""
        self._may_bind = True
        for exchange in EXCHANGES:
            name = f"{self._prefix}.{exchange}"
            if (yield from self._make_exchange(name)) == 403:
                return f"exchange {name}"
        for queue in sorted(self.kept):
            problem = yield from self.declare(queue)
            if problem is None:
                continue
            if problem.reply_code == 403:
                return f"queue {queue}"
            log.warning("queue %s cannot be made: %s", queue, problem.reply_text)
        return ""

    def declare(self, queue: str) -> Script:
        """Make the queue if it is missing, and bind it; returns the ``ChannelClosed`` that prevents it, or None."""
        said = yield from self.look(queue)
        is_there = not isinstance(said, ChannelClosed)
        if not is_there:
            if said.reply_code != 404:
                return said
            said = yield _declare(queue, self._arguments(queue))
            if isinstance(said, ChannelClosed):
                return said
        if queue.startswith(f"{self._prefix}.worker.") or (is_there and not self._may_bind):
            return None
        problem = yield from self.bind(queue)
        if is_there and problem is not None and problem.reply_code == 403:
            self._may_bind = False  # not ours: who made it has bound it
            return None
        return problem

    def look(self, queue: str) -> Script:
        """The ``DeclareOk`` of an existing queue, or the ``ChannelClosed`` that says why not."""

        def step(channel: Channel, done: Callable[[Any], None]) -> None:
            channel.queue_declare(queue, passive=True, callback=done)

        return (yield step)

    def probe(self, queue: str) -> Script:
        """The queue's ``Depth``, None where there is none, or another ``ChannelClosed``."""
        said = yield from self.look(queue)
        if isinstance(said, ChannelClosed):
            return None if said.reply_code == 404 else said
        return Depth(said.message_count, said.consumer_count)

    def delete(self, queue: str) -> Script:
        """True when there was such a queue, which is now gone; or the ``ChannelClosed``."""
        said = yield from self.look(queue)
        if isinstance(said, ChannelClosed):
            return False if said.reply_code == 404 else said

        def step(channel: Channel, done: Callable[[Any], None]) -> None:
            channel.queue_delete(queue, callback=done)

        said = yield step
        return said if isinstance(said, ChannelClosed) else True

    def purge(self, queue: str) -> Script:
        """How many messages were thrown away; or the ``ChannelClosed``."""

        def step(channel: Channel, done: Callable[[Any], None]) -> None:
            channel.queue_purge(queue, callback=done)

        said = yield step
        if isinstance(said, ChannelClosed):
            return 0 if said.reply_code == 404 else said
        return said.message_count

    def _arguments(self, queue: str) -> dict[str, Any]:
        """Priorities only where work waits (they halve the rate); what the broker drops goes to the dead letters."""
        # said for classic ones too: the default of a vhost may be quorum, which takes no priorities
        arguments: dict[str, Any] = {"x-queue-type": self.queue_type}
        if self.queue_type == "quorum":
            arguments["x-delivery-limit"] = DELIVERY_LIMIT
        elif self.exchange_of(queue) == f"{self._prefix}.work":
            arguments["x-max-priority"] = HIGHEST_PRIORITY
        if queue != self.dead:
            arguments["x-dead-letter-exchange"] = self.exchange_of(self.dead)
            arguments["x-dead-letter-routing-key"] = self.dead
        return arguments

    def bind(self, queue: str) -> Script:
        """Bind an existing queue; returns the ``ChannelClosed`` that prevents it, or None."""
        exchange = self.exchange_of(queue)

        def step(channel: Channel, done: Callable[[Any], None]) -> None:
            channel.queue_bind(queue, exchange, routing_key=queue, callback=done)

        said = yield step
        if isinstance(said, ChannelClosed) and said.reply_code == 404:
            yield from self._make_exchange(exchange)
            said = yield step
        return said if isinstance(said, ChannelClosed) else None

    def _make_exchange(self, exchange: str) -> Script:
        """The code of the refusal to make a missing exchange, 0 for none."""
        said = yield _exchange(exchange, passive=True)
        if isinstance(said, ChannelClosed):
            said = yield _exchange(exchange, passive=False)
        if not isinstance(said, ChannelClosed):
            return 0
        if said.reply_code != 403:
            log.warning("exchange %s cannot be made: %s", exchange, said.reply_text)
        return said.reply_code


def _exchange(exchange: str, *, passive: bool) -> Step:
    def step(channel: Channel, done: Callable[[Any], None]) -> None:
        channel.exchange_declare(exchange, "direct", passive=passive, durable=True, callback=done)

    return step


def _declare(queue: str, arguments: dict[str, Any]) -> Step:
    def step(channel: Channel, done: Callable[[Any], None]) -> None:
        channel.queue_declare(queue, durable=True, arguments=arguments, callback=done)

    return step
