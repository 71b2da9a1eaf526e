"""Heartbeats of a worker whose leader is away: they do not fill the broker, and come back with the leader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.play import worker_info
from tests.waiting import wait_until
from wlmctl.broker.memory import MemoryBroker
from wlmctl.message import HeartbeatMessage, decode
from wlmctl.worker import heartbeat
from wlmctl.worker.book import Book
from wlmctl.worker.contact import Contact
from wlmctl.worker.settings import WorkerSettings

RESULTS, UNREAD, LOOK_BEATS = "wlm.results", 20, 5


class CountedContact(Contact):
    count = 0

    def confirmed(self) -> None:
        self.count += 1
        super().confirmed()


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryBroker]:
    monkeypatch.setattr(heartbeat, "UNREAD", UNREAD)
    monkeypatch.setattr(heartbeat, "LOOK_BEATS", LOOK_BEATS)
    broker = MemoryBroker()
    broker.channel().declare(RESULTS)
    yield broker
    broker.close()


@pytest.fixture
def contact(broker: MemoryBroker) -> Iterator[CountedContact]:
    """That of a worker that beats every 5 ms."""
    contact = CountedContact(broker, 15.0)
    settings = WorkerSettings(worker_info("w"), is_fleet=True, heartbeat_s=0.005)
    said: Any = {"permits": list, "progress": list, "is_draining": lambda: False, "look": lambda: None}
    beating = heartbeat.Heartbeat(
        "u.w-1", settings, broker, broker.channel(), RESULTS, Book(2), contact, own_queues=[], **said
    )
    beating.start()
    yield contact
    beating.stop()


def test_while_no_leader_reads_heartbeats_stop_before_they_fill_the_broker(
    broker: MemoryBroker, contact: CountedContact
) -> None:
    wait_until(lambda: contact.count > 10 * UNREAD, "many heartbeats were due, and the broker answered each time", 60)
    assert UNREAD <= broker.depth(RESULTS) <= UNREAD + LOOK_BEATS
    assert not contact.is_silent


def test_a_leader_that_comes_back_is_sent_heartbeats_again(broker: MemoryBroker, contact: CountedContact) -> None:
    wait_until(lambda: contact.count > 5 * UNREAD, "heartbeats are left out", 60)
    leader = broker.channel()
    leader.consume(RESULTS, None)
    for _ in range(3 * UNREAD):
        delivery = leader.receive(20)
        assert delivery is not None, "no heartbeat came"
        assert isinstance(decode(delivery.body), HeartbeatMessage)
