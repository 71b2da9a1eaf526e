"""Fixtures of tests that need a RabbitMQ of their own, and of those that play an orchestrator's worker."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.orchestra import Orchestra
from tests.play import Clock, inventory, play_types
from tests.services.rabbitmq import require
from tests.waiting import wait_until
from wlmctl.broker.rabbitmq import RabbitBroker, RabbitSettings
from wlmctl.machine import Machine


@pytest.fixture(scope="module")
def module_node(tmp_path_factory):
    with require(tmp_path_factory.mktemp("outages"), private=True) as node:
        yield node


@pytest.fixture
def node(module_node):
    if not module_node.is_running:
        module_node.start()
    return module_node


@pytest.fixture
def place(node):
    place = node.vhost()
    yield place
    with contextlib.suppress(OSError):
        node.remove_vhost(place.name)


@pytest.fixture
def connect():
    brokers = []

    def connect(url, **settings):
        brokers.append(RabbitBroker(RabbitSettings(url, **{"heartbeat_s": 30, **settings})))
        return brokers[-1]

    yield connect
    for broker in brokers:
        broker.close()
        wait_until(lambda thread=broker._link._thread: not thread.is_alive(), "its thread has ended")


@pytest.fixture
def line(place, connect):
    """A connected channel with a queue."""
    broker = connect(place.url)
    channel = broker.channel()
    channel.declare("q")
    channel.broker = broker
    return channel


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Orchestra]]:
    """Opens orchestrators with these machines, all on one clock and one store."""
    clock, opened = Clock(), list[Orchestra]()
    play_types(monkeypatch, clock)

    def opener(*machines: Machine, **settings: Any) -> Orchestra:
        opened.append(Orchestra(tmp_path, inventory(*machines), clock=clock, **settings))
        return opened[-1]

    yield opener
    for orchestra in opened:
        orchestra.close()
