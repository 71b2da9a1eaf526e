"""The contract that every broker satisfies (``wlmctl.broker.contract``), run against the in-process one."""

from __future__ import annotations

import threading

import pytest

from wlmctl.broker.contract import Broker, Unroutable
from wlmctl.broker.memory import MemoryBroker


@pytest.fixture
def broker() -> Broker:
    return MemoryBroker()


def bodies(channel, count):
    return [channel.receive(5).body for _ in range(count)]


def test_messages_come_in_the_order_they_were_published(broker):
    channel = broker.channel()
    channel.consume("q", 10)
    for number in range(5):
        channel.publish("q", b"%d" % number)
    assert bodies(channel, 5) == [b"0", b"1", b"2", b"3", b"4"]


def test_a_higher_priority_overtakes_what_still_waits(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.publish("q", b"low", priority=2)
    channel.publish("q", b"urgent", priority=8)
    channel.publish("q", b"normal", priority=4)
    channel.consume("q", 10)
    assert bodies(channel, 3) == [b"urgent", b"normal", b"low"]


def test_publishing_to_no_queue_is_refused(broker):
    with pytest.raises(Unroutable):
        broker.channel().publish("nowhere", b"x")


def test_a_consumer_gets_no_more_than_its_credit_until_it_acks(broker):
    channel = broker.channel()
    channel.consume("q", 2)
    for number in range(3):
        channel.publish("q", b"%d" % number)
    first, _ = channel.receive(5), channel.receive(5)
    assert channel.receive(0) is None
    channel.ack(first)
    assert channel.receive(5).body == b"2"


def test_one_message_has_one_consumer_at_a_time(broker):
    sender, channels = broker.channel(), [broker.channel() for _ in range(4)]
    for channel in channels:
        channel.consume("q", 1000)
    for number in range(200):
        sender.publish("q", b"%d" % number)
    seen, lock = [], threading.Lock()

    def drain(channel):
        while (delivery := channel.receive(0.2)) is not None:
            with lock:
                seen.append(delivery.body)
            channel.ack(delivery)

    threads = [threading.Thread(target=drain, args=(channel,)) for channel in channels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen, key=int) == [b"%d" % number for number in range(200)]


def test_closing_hands_back_what_was_not_acked_marked_as_redelivered(broker):
    first, second = broker.channel(), broker.channel()
    first.consume("q", 10)
    first.publish("q", b"kept")
    first.publish("q", b"lost")
    first.ack(first.receive(5))
    assert not first.receive(5).redelivered
    second.consume("q", 10)
    first.close()
    again = second.receive(5)
    assert (again.body, again.redelivered) == (b"lost", True)


def test_a_message_handed_back_comes_again_before_later_ones(broker):
    channel = broker.channel()
    channel.consume("q", 1)
    channel.publish("q", b"a")
    channel.publish("q", b"b")
    channel.hand_back(channel.receive(5))
    again = channel.receive(5)
    assert (again.body, again.redelivered) == (b"a", True)


def test_closing_wakes_whoever_waits_for_a_message(broker):
    channel = broker.channel()
    channel.consume("q", 1)
    got = []
    thread = threading.Thread(target=lambda: got.append(channel.receive(None)))
    thread.start()
    channel.close()
    thread.join(5)
    assert got == [None]


def test_a_waiting_consumer_is_woken_by_a_message(broker):
    channel = broker.channel()
    channel.consume("q", 1)
    got = []
    thread = threading.Thread(target=lambda: got.append(channel.receive(5)))
    thread.start()
    broker.channel().publish("q", b"x")
    thread.join(5)
    assert got[0].body == b"x"
