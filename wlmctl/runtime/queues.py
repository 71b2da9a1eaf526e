"""The deployment's queues as an operator sees them: which there are, how full, dead letters, and what is stale.

AMQP lists no queues: that of each task type and each worker is looked for by its name.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from wlmctl.broker.contract import Broker, BrokerError, BrokerRefused, Channel, Delivery, Unroutable
from wlmctl.config import Config
from wlmctl.errors import UsageError
from wlmctl.queues import DEAD, RESULTS, control_queue, marks_queue, type_queue, worker_queue
from wlmctl.runtime.broker import open_broker

#: Seconds in which a broker must answer a command.
PATIENCE_S = 5.0
#: Seconds without a further dead letter after which there is none.
QUIET_S = 1.0
#: Dead letters taken at a time.
_CREDIT = 1000


@dataclass(frozen=True, slots=True)
class QueueState:
    """One queue: messages that wait, consumers, and the id of the worker whose own it is."""

    name: str
    ready: int
    consumers: int
    worker: str | None = None


@dataclass(frozen=True, slots=True)
class Requeued:
    """What became of one dead letter: ``problem`` is why it still is one."""

    letter: Delivery
    problem: str = ""


@contextmanager
def connected(config: Config) -> Iterator[Broker]:
    """The broker, once it has taken us. Raises ``BrokerRefused`` and ``BrokerError``; ``UsageError`` for none."""
    if not config.is_fleet:
        raise UsageError(
            'the broker is memory://, whose queues nobody else sees: set broker = "amqp://USER@HOST/VHOST" in'
            " wlmctl.toml or WLMCTL_BROKER"
        )
    broker = open_broker(config, "wlmctl")
    try:
        _wait(broker, config)
        yield broker
    finally:
        broker.close()


def _wait(broker: Broker, config: Config) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not (state := broker.state).is_up:
        if state.what == "refused":
            raise BrokerRefused(state.reason)
        if time.monotonic() > deadline_s:
            raise BrokerError(f"the broker {config.broker} cannot be reached: {state.reason or 'it does not answer'}")
        time.sleep(0.01)


def names(prefix: str, types: Iterable[str], workers: Iterable[str]) -> dict[str, str | None]:
    """The queues that there may be, each with the worker whose own it is."""
    found: dict[str, str | None] = dict.fromkeys([RESULTS.format(prefix=prefix), DEAD.format(prefix=prefix)])
    found |= {type_queue(prefix, each): None for each in types}
    for worker in workers:
        found |= dict.fromkeys(queues_of(prefix, worker), worker)
    return found


def queues_of(prefix: str, worker: str) -> list[str]:
    """A worker's own queues."""
    return [make(prefix, worker) for make in (worker_queue, control_queue, marks_queue)]


def states(broker: Broker, names: Mapping[str, str | None]) -> list[QueueState]:
    """Those that there are, with what is in them."""
    seen = ((name, worker, broker.probe(name, PATIENCE_S)) for name, worker in names.items())
    return [QueueState(name, depth.ready, depth.consumers, worker) for name, worker, depth in seen if depth is not None]


def dead_letters(broker: Broker, prefix: str) -> list[Delivery]:
    """The dead letters, looked at and left where they are."""
    channel = broker.channel()
    try:
        return list(_take(channel, broker, prefix))
    finally:
        channel.close()  # hands them back


def requeue(broker: Broker, prefix: str) -> Iterator[Requeued]:
    """Put each dead letter back into the queue it came from; one that cannot be stays a dead letter."""
    channel = broker.channel()
    try:
        for letter in _take(channel, broker, prefix):
            problem = _put_back(channel, letter)
            if not problem:
                channel.ack(letter)
            yield Requeued(letter, problem)
    finally:
        channel.close()


def _put_back(channel: Channel, letter: Delivery) -> str:
    if not letter.origin:
        return "it does not say which queue it came from"
    try:
        channel.publish(letter.origin, letter.body, priority=letter.priority, timeout_s=PATIENCE_S)
    except Unroutable:
        return f"there is no queue {letter.origin} any more"
    except BrokerRefused as error:
        return f"{letter.origin}: {error}"
    return ""


def _take(channel: Channel, broker: Broker, prefix: str) -> Iterator[Delivery]:
    """As many as there are now: one that comes back at once is not taken twice."""
    dead = DEAD.format(prefix=prefix)
    depth = broker.probe(dead, PATIENCE_S)
    if depth is None or not depth.ready:
        return
    channel.consume(dead, depth.ready)
    left = depth.ready
    while left and (letters := channel.receive_many(min(left, _CREDIT), QUIET_S)):
        left -= len(letters)
        yield from letters
