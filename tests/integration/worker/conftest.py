"""A worker over RabbitMQ, with the test as its leader."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.leading import Leader
from wlmctl.broker.contract import Broker

Connect = Callable[[], Broker]


@pytest.fixture
def connect(rabbit: Any) -> Iterator[Connect]:
    """Gives connections to one vhost."""
    from wlmctl.broker.rabbitmq import RabbitBroker, RabbitSettings

    vhost, brokers = rabbit.vhost(), list[Any]()

    def connect() -> Broker:
        broker = RabbitBroker(RabbitSettings(vhost.url, heartbeat_s=30))
        brokers.append(broker)
        return broker

    connect.vhost = vhost.name  # type: ignore[attr-defined]
    yield connect
    for broker in brokers:
        broker.close()
    rabbit.remove_vhost(vhost.name)


@pytest.fixture
def leader(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Iterator[Leader]:
    leader = Leader(connect(), monkeypatch)
    yield leader
    leader.close()


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()
