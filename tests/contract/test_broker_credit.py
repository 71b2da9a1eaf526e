"""The contract of every broker: credit, batches and acks."""

from __future__ import annotations

import time

from tests.brokers import bodies, nothing_comes
from tests.waiting import wait_until
from wlmctl.broker.contract import Outgoing


def test_a_consumer_gets_no_more_than_its_credit_until_it_acks(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 2)
    for number in range(3):
        channel.publish("q", b"%d" % number)
    first, _ = channel.receive(20), channel.receive(20)
    assert nothing_comes(channel)
    channel.ack(first)
    assert channel.receive(20).body == b"2"


def test_credit_can_be_raised_while_messages_are_held(broker):
    channel = broker.channel()
    channel.declare("q")
    for number in range(10):
        channel.publish("q", b"%d" % number)
    channel.consume("q", 2)
    assert bodies(channel, 2) == [b"0", b"1"]
    assert nothing_comes(channel)
    channel.consume("q", 5)
    assert bodies(channel, 3) == [b"2", b"3", b"4"]
    assert nothing_comes(channel)


def test_credit_can_be_lowered_and_counts_what_is_held(broker):
    channel = broker.channel()
    channel.declare("q")
    for number in range(30):
        channel.publish("q", b"%d" % number)
    channel.consume("q", 8)
    held = [channel.receive(20) for _ in range(8)]
    channel.consume("q", 3)
    channel.ack(*held[:5])
    assert nothing_comes(channel), "three are held still"
    channel.ack(held[5])
    assert channel.receive(20) is not None
    assert nothing_comes(channel)
    channel.ack(*held[6:])
    held = [channel.receive(20) for _ in range(2)]
    assert all(held)
    assert nothing_comes(channel)


def test_lowering_the_credit_by_one_and_acking_brings_no_further_message(broker):
    channel = broker.channel()
    channel.declare("q")
    for number in range(20):
        channel.publish("q", b"%d" % number)
    channel.consume("q", 4)
    held = [channel.receive(20) for _ in range(4)]
    for left, delivery in zip((3, 2, 1), held, strict=False):
        channel.consume("q", left)
        channel.ack(delivery)
        assert nothing_comes(channel)
    channel.ack(held[3])
    assert channel.receive(20) is not None
    assert nothing_comes(channel)


def test_credit_zero_stops_the_consumer_and_leaves_what_waits(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 5)
    channel.publish("q", b"a")
    channel.ack(channel.receive(20))
    channel.consume("q", 0)
    wait_until(lambda: broker.probe("q").consumers == 0, "the consumer is gone")
    channel.publish("q", b"b")
    assert nothing_comes(channel)
    wait_until(lambda: broker.probe("q").ready == 1, "it waits in the queue")
    channel.consume("q", 5)
    assert channel.receive(20).body == b"b"


def test_a_queue_left_and_taken_up_again_is_consumed_whatever_is_acked_meanwhile(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 2)
    channel.publish("q", b"a")
    held = channel.receive(20)
    channel.consume("q", 0)
    channel.consume("q", 2)
    channel.ack(held)
    channel.publish("q", b"b")
    held = channel.receive(20)
    assert held.body == b"b"
    channel.ack(held)
    channel.consume("q", 0)
    wait_until(lambda: broker.probe("q").consumers == 0, "the consumer is gone")


def test_a_queue_without_credit_needs_no_ack(broker):
    channel = broker.channel()
    channel.declare("wlm.worker.w.control")
    channel.consume("wlm.worker.w.control", None)
    for number in range(50):
        channel.publish("wlm.worker.w.control", b"%d" % number)
    assert bodies(channel, 50) == [b"%d" % number for number in range(50)]
    channel.close()
    wait_until(lambda: broker.probe("wlm.worker.w.control").consumers == 0, "the consumer is gone")
    assert broker.probe("wlm.worker.w.control").ready == 0


def test_many_messages_are_received_and_acked_at_once(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 100)
    channel.send([Outgoing("q", b"%d" % number) for number in range(250)])
    seen = []
    while len(seen) < 250:
        batch = channel.receive_many(40, 60)
        assert 0 < len(batch) <= 40
        seen += [delivery.body for delivery in batch]
        channel.ack(*reversed(batch))
    assert seen == [b"%d" % number for number in range(250)]
    channel.close()
    wait_until(lambda: broker.probe("q").consumers == 0, "the consumer is gone")
    assert broker.probe("q").ready == 0


def test_acks_may_come_in_any_order(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 10)
    for number in range(6):
        channel.publish("q", b"%d" % number)
    held = [channel.receive(20) for _ in range(6)]
    channel.ack(held[4], held[0], held[1])
    channel.ack(held[3])
    channel.close()
    other = broker.channel()
    other.consume("q", 10)
    assert sorted(bodies(other, 2)) == [b"2", b"5"]
    assert nothing_comes(other)


def test_receiving_ends_with_its_time_out(broker):
    channel = broker.channel()
    channel.consume("q", 1)
    start_s = time.monotonic()
    assert channel.receive(0.2) is None
    assert 0.15 < time.monotonic() - start_s < 5
    assert channel.receive_many(10, 0) == []
