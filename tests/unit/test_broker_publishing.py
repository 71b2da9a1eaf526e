"""What a publishing channel makes of answers in any order, and what becomes of questions that nobody waits for."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pika import BasicProperties, spec

from tests.waiting import wait_until
from wlmctl.broker.contract import BrokerError, Outgoing
from wlmctl.broker.rabbitmq.broker import RabbitBroker
from wlmctl.broker.rabbitmq.posts import Post
from wlmctl.broker.rabbitmq.publishing import PublishLine
from wlmctl.broker.rabbitmq.settings import RabbitSettings
from wlmctl.errors import WlmctlError


class Asked:
    """Stands for the errands: keeps who waits for an answer."""

    def __init__(self) -> None:
        self.waiting = list[Callable[[Any], None]]()

    def ask(self, _make: Any, done: Callable[[Any], None]) -> None:
        self.waiting.append(done)


class Line(PublishLine):
    """A publishing line with an open channel to a broker that the test plays."""

    def __init__(self) -> None:
        self.asked, self.sent, self.told = Asked(), list[str](), list[tuple[str, WlmctlError | None]]()
        link: Any = SimpleNamespace(
            settings=SimpleNamespace(window=10), address=SimpleNamespace(user="u"), is_blocked=False
        )
        topology: Any = SimpleNamespace(
            ends=frozenset(), kept=frozenset(), exchange_of=lambda queue: queue, bind=lambda queue: queue
        )
        asked: Any = self.asked
        super().__init__(link, asked, topology, lambda message, error: self.told.append((message.body.decode(), error)))
        channel: Any = SimpleNamespace(is_open=True)
        writer: Any = SimpleNamespace(publish=lambda _exchange, message, *_: self.sent.append(message.body.decode()))
        self._channel, self._writer, self._is_ready = channel, writer, True

    def publish(self, *bodies: str) -> None:
        self.send([Post(Outgoing("wlm.worker.w", body.encode())) for body in bodies])

    def returned(self, number: int) -> None:
        """No queue for this one; its confirm comes next, as the broker has it."""
        assert self._channel is not None
        self._returned(self._channel, None, BasicProperties(correlation_id=str(number)), b"")
        self.confirmed(number)

    def confirmed(self, number: int) -> None:
        self._confirmed(SimpleNamespace(method=spec.Basic.Ack(number)))

    def refused(self, number: int) -> None:
        self._confirmed(SimpleNamespace(method=spec.Basic.Nack(number)))


def test_a_message_without_a_queue_does_not_wait_for_ever_where_the_next_one_has_found_it() -> None:
    line = Line()
    line.publish("a", "b")
    line.returned(1)
    assert line.asked.waiting == [], "it would be overtaken by the other"
    line.confirmed(2)  # somebody has bound the queue meanwhile
    line.publish("c")
    (bound,) = line.asked.waiting
    bound(None)
    assert line.sent == ["a", "b", "a", "c"]
    for number in (3, 4):
        line.confirmed(number)
    assert line.told == [("b", None), ("a", None), ("c", None)]


def test_nor_where_the_next_one_was_refused() -> None:
    line = Line()
    line.publish("a", "b")
    line.returned(1)
    line.refused(2)
    line.tick(0.0)
    (bound,) = line.asked.waiting
    bound(None)
    assert line.sent == ["a", "b", "a", "b"]


@pytest.fixture
def away() -> Iterator[RabbitBroker]:
    """A broker that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    broker = RabbitBroker(RabbitSettings(f"amqp://guest:guest@127.0.0.1:{port}/"))
    yield broker
    broker.close()


def test_a_question_that_was_given_up_is_not_asked_after_the_outage(away: RabbitBroker) -> None:
    for _ in range(3):
        with pytest.raises(BrokerError, match="no answer within"):
            away.probe("wlm.results", 0.01)
    wait_until(lambda: not away._errands._waiting, "nothing is left of them")
