"""The contract of every broker (``wlmctl.broker.contract``): publishing and consuming."""

from __future__ import annotations

import threading

import pytest

from tests.brokers import bodies
from tests.waiting import wait_until
from wlmctl.broker.contract import Delivery, Outgoing, TooLarge, Unroutable


def test_messages_come_in_the_order_they_were_published(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 10)
    for number in range(5):
        channel.publish("q", b"%d" % number)
    assert bodies(channel, 5) == [b"0", b"1", b"2", b"3", b"4"]


def test_a_higher_priority_overtakes_what_still_waits(bench, broker):
    if bench.kind == "quorum":
        pytest.skip("quorum queues know no priority")
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


def test_each_of_many_messages_hears_of_its_own_confirm_or_error(broker):
    channel, heard = broker.channel(), {}
    channel.declare("q")

    def told(name):
        return lambda error: heard.update({name: error})

    names = ["q" if number % 3 else "nowhere" for number in range(30)]
    channel.send([Outgoing(queue, b"%d" % n, told=told(n)) for n, queue in enumerate(names)])
    assert channel.flush(30)
    assert {n for n, error in heard.items() if error is None} == {n for n in range(30) if n % 3}
    assert all(isinstance(heard[n], Unroutable) for n in range(0, 30, 3))
    assert channel.outstanding == 0


def test_flush_raises_the_error_of_a_message_that_nobody_listens_for(broker):
    channel = broker.channel()
    channel.send([Outgoing("nowhere", b"x")])
    with pytest.raises(Unroutable):
        channel.flush(30)
    assert channel.flush(30)


def test_more_messages_than_the_window_all_arrive_in_order(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.send([Outgoing("q", b"%d" % number) for number in range(3000)])
    assert channel.flush(30)
    channel.consume("q", 3000)
    assert bodies(channel, 3000) == [b"%d" % number for number in range(3000)]


def test_a_message_over_the_limit_is_refused_and_the_next_one_is_not(broker):
    channel = broker.channel()
    channel.declare("q")
    with pytest.raises(TooLarge, match=r"100001 bytes.*100000"):
        channel.publish("q", b"x" * 100_001)
    channel.publish("q", b"x" * 100_000)
    assert wait_until(lambda: broker.probe("q").ready, "the message is in the queue") == 1


def test_one_message_has_one_consumer_at_a_time(broker):
    sender, channels = broker.channel(), [broker.channel() for _ in range(4)]
    sender.declare("q")
    for channel in channels:
        channel.consume("q", 1000)
    sender.send([Outgoing("q", b"%d" % number) for number in range(200)])
    assert sender.flush(30)
    seen, lock = [], threading.Lock()

    def drain(channel):
        while (delivery := channel.receive(0.5)) is not None:
            with lock:
                seen.append(delivery.body)
            channel.ack(delivery)

    threads = [threading.Thread(target=drain, args=(channel,)) for channel in channels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen, key=int) == [b"%d" % number for number in range(200)]


def test_a_waiting_consumer_is_woken_by_a_message(broker):
    channel = broker.channel()
    channel.consume("q", 1)
    got = []
    thread = threading.Thread(target=lambda: got.append(channel.receive(20)))
    thread.start()
    wait_until(lambda: broker.probe("q"), "the queue is there")
    broker.channel().publish("q", b"x")
    thread.join(60)
    assert got[0].body == b"x"


def test_an_unknown_delivery_is_not_acked_twice(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 1)
    channel.publish("q", b"a")
    delivery = channel.receive(20)
    channel.ack(delivery)
    channel.ack(delivery)
    channel.hand_back(delivery)
    channel.ack(Delivery("q", b"", 10_000))
    channel.publish("q", b"b")
    assert channel.receive(20).body == b"b"


def test_who_waits_for_a_message_returns_without_one_when_it_is_woken(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 10)
    channel.publish("q", b"first")
    assert bodies(channel, 1) == [b"first"]
    waker = threading.Timer(0.1, channel.wake)
    waker.start()
    assert channel.receive_many(10, 60) == []  # without the wake it takes a minute
    waker.join()
    channel.wake()  # nobody waits: whoever waits next is meant
    assert channel.receive_many(10, 60) == []
    channel.publish("q", b"second")
    assert bodies(channel, 1) == [b"second"]


def test_a_message_that_is_handed_back_many_times_is_never_given_up(bench, broker):
    """RabbitMQ 4 lets a quorum queue drop what came back 20 times, and a vhost make each queue quorum, unless told."""
    channel = broker.channel()
    channel.declare("wlm.work.job")
    channel.publish("wlm.work.job", b"again")
    channel.consume("wlm.work.job", 1)
    for _ in range(25):
        delivery = channel.receive(20)
        assert delivery is not None
        channel.hand_back(delivery)
    assert channel.receive(20).body == b"again"
    if bench.kind != "memory":
        wanted = {"classic": {"x-max-priority": 10}, "quorum": {"x-delivery-limit": 1_000_000}}[bench.kind]
        arguments = bench.rabbit.queue(bench.vhost.name, "wlm.work.job")["arguments"]
        assert arguments.items() >= ({"x-queue-type": bench.kind} | wanted).items()
