"""The contract that every broker satisfies (``wlmctl.broker.contract``), run against all of them."""

from __future__ import annotations

import threading
import time

import pytest

from tests.waiting import wait_until
from wlmctl.broker.contract import BrokerError, Delivery, Outgoing, TooLarge, Unroutable
from wlmctl.broker.memory import MemoryBroker

DEAD = "wlm.dead"
KINDS = ("memory", "classic", "quorum")


class Bench:
    """One broker under test; ``peer()`` is another process's view of the same queues."""

    def __init__(self, kind, request):
        self.kind, self._brokers = kind, []
        if kind == "memory":
            self.broker = MemoryBroker(message_limit_bytes=100_000)
            return
        self.rabbit = request.getfixturevalue("rabbit")
        self.vhost = self.rabbit.vhost()
        self.broker = self.peer()

    def peer(self):
        if self.kind == "memory":
            return self.broker
        from wlmctl.broker.rabbitmq import RabbitBroker, RabbitSettings

        settings = RabbitSettings(self.vhost.url, queue_type=self.kind, message_limit_bytes=100_000)
        self._brokers.append(RabbitBroker(settings))
        return self._brokers[-1]

    def break_connections(self):
        """What a broker's restart does to consumers."""
        if self.kind == "memory":
            self.broker.restart()
        else:
            wait_until(lambda: self.rabbit.close_connections(self.vhost.name), "the broker knows the connection", 20)

    def close(self):
        for broker in self._brokers:
            broker.close()
        if self.kind != "memory":
            self.rabbit.remove_vhost(self.vhost.name)


@pytest.fixture(params=KINDS)
def bench(request):
    bench = Bench(request.param, request)
    yield bench
    bench.close()


@pytest.fixture
def broker(bench):
    return bench.broker


def bodies(channel, count):
    found = []
    for _ in range(count):
        delivery = channel.receive(10)
        assert delivery is not None, f"only {found} came"
        found.append(delivery.body)
    return found


def nothing_comes(channel):
    return channel.receive(0.3) is None


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
    assert channel.flush(10)
    assert {n for n, error in heard.items() if error is None} == {n for n in range(30) if n % 3}
    assert all(isinstance(heard[n], Unroutable) for n in range(0, 30, 3))
    assert channel.outstanding == 0


def test_flush_raises_the_error_of_a_message_that_nobody_listens_for(broker):
    channel = broker.channel()
    channel.send([Outgoing("nowhere", b"x")])
    with pytest.raises(Unroutable):
        channel.flush(10)
    assert channel.flush(10)


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
    with pytest.raises(TooLarge, match="100001 bytes.*100000"):
        channel.publish("q", b"x" * 100_001)
    channel.publish("q", b"x" * 100_000)
    assert wait_until(lambda: broker.probe("q").ready, "the message is in the queue") == 1


def test_a_consumer_gets_no_more_than_its_credit_until_it_acks(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 2)
    for number in range(3):
        channel.publish("q", b"%d" % number)
    first, _ = channel.receive(5), channel.receive(5)
    assert nothing_comes(channel)
    channel.ack(first)
    assert channel.receive(5).body == b"2"


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
    held = [channel.receive(5) for _ in range(8)]
    channel.consume("q", 3)
    channel.ack(*held[:5])
    assert nothing_comes(channel), "three are held still"
    channel.ack(held[5])
    assert channel.receive(5) is not None
    assert nothing_comes(channel)
    channel.ack(*held[6:])
    held = [channel.receive(5) for _ in range(2)]
    assert all(held)
    assert nothing_comes(channel)


def test_lowering_the_credit_by_one_and_acking_brings_no_further_message(broker):
    channel = broker.channel()
    channel.declare("q")
    for number in range(20):
        channel.publish("q", b"%d" % number)
    channel.consume("q", 4)
    held = [channel.receive(5) for _ in range(4)]
    for left, delivery in zip((3, 2, 1), held, strict=False):
        channel.consume("q", left)
        channel.ack(delivery)
        assert nothing_comes(channel)
    channel.ack(held[3])
    assert channel.receive(5) is not None
    assert nothing_comes(channel)


def test_credit_zero_stops_the_consumer_and_leaves_what_waits(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 5)
    channel.publish("q", b"a")
    channel.ack(channel.receive(5))
    channel.consume("q", 0)
    wait_until(lambda: broker.probe("q").consumers == 0, "the consumer is gone")
    channel.publish("q", b"b")
    assert nothing_comes(channel)
    assert broker.probe("q").ready == 1
    channel.consume("q", 5)
    assert channel.receive(5).body == b"b"


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
        batch = channel.receive_many(40, 10)
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
    held = [channel.receive(5) for _ in range(6)]
    channel.ack(held[4], held[0], held[1])
    channel.ack(held[3])
    channel.close()
    other = broker.channel()
    other.consume("q", 10)
    assert sorted(bodies(other, 2)) == [b"2", b"5"]
    assert nothing_comes(other)


def test_one_message_has_one_consumer_at_a_time(broker):
    sender, channels = broker.channel(), [broker.channel() for _ in range(4)]
    sender.declare("q")
    for channel in channels:
        channel.consume("q", 1000)
    sender.send([Outgoing("q", b"%d" % number) for number in range(200)])
    assert sender.flush(10)
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


def test_closing_hands_back_what_was_not_acked_marked_as_redelivered(broker):
    first, second = broker.channel(), broker.channel()
    first.declare("q")
    first.consume("q", 10)
    first.publish("q", b"kept")
    first.publish("q", b"lost")
    first.ack(first.receive(5))
    assert not first.receive(5).redelivered
    second.consume("q", 10)
    first.close()
    again = second.receive(5)
    assert (again.body, again.redelivered) == (b"lost", True)


def test_a_message_handed_back_comes_again_before_later_ones(bench, broker):
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 1)
    channel.publish("q", b"a")
    channel.publish("q", b"b")
    channel.hand_back(channel.receive(5))
    again = channel.receive(5)
    if bench.kind == "quorum":  # gives first what was already on its way
        channel.ack(again)
        again = channel.receive(5)
    assert (again.body, again.redelivered) == (b"a", True)


def test_a_buried_message_is_a_dead_letter_with_its_reason_and_origin(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 1)
    channel.publish("q", b"\xff poison")
    channel.publish("q", b"next")
    channel.bury(channel.receive(5), "cannot be decoded")
    assert channel.receive(5).body == b"next"
    reader = broker.channel()
    reader.consume(DEAD, 10)
    letter = reader.receive(10)
    assert (letter.body, letter.reason, letter.origin) == (b"\xff poison", "cannot be decoded", "q")


def test_a_lost_connection_voids_what_was_held_and_says_so(bench, broker):
    epochs = []
    channel = broker.channel(lost=epochs.append)
    channel.declare("q")
    channel.consume("q", 10)
    channel.publish("q", b"x")
    held = channel.receive(5)
    assert held.epoch == channel.epoch
    bench.break_connections()
    again = channel.receive(20)
    assert (again.body, again.redelivered) == (b"x", True)
    assert epochs == [channel.epoch]
    assert held.epoch < again.epoch == channel.epoch
    channel.ack(held)  # void: it belongs to others
    channel.close()
    other = bench.peer().channel()
    other.consume("q", 10)
    assert other.receive(10).body == b"x"


def test_messages_of_a_lost_connection_are_published_again(bench, broker):
    channel = broker.channel()
    channel.declare("q")
    reader = bench.peer().channel()
    reader.consume("q", 10_000)
    heard = []
    for start in range(0, 2000, 500):
        channel.send([Outgoing("q", b"%d" % n, told=heard.append) for n in range(start, start + 500)])
        bench.break_connections()
    assert channel.flush(30)
    assert heard == [None] * 2000
    seen = set()
    while len(seen) < 2000:
        batch = reader.receive_many(500, 10)
        assert batch, f"{2000 - len(seen)} messages are missing"
        seen.update(delivery.body for delivery in batch)
        reader.ack(*batch)


def test_watchers_are_told_how_it_stands_with_the_connection(bench, broker):
    channel, states = broker.channel(), []
    channel.declare("q")
    assert broker.state.is_up
    broker.watch(states.append)
    epoch = broker.state.epoch
    bench.break_connections()
    wait_until(lambda: states and states[-1].what == "connected", "it is connected again", 20)
    assert "reconnecting" in [state.what for state in states]
    assert broker.state.epoch > epoch


def test_a_probe_sees_messages_and_consumers_and_no_queue(broker):
    channel = broker.channel()
    assert broker.probe("q") is None
    channel.declare("q")
    channel.publish("q", b"x")
    wait_until(lambda: broker.probe("q").ready == 1, "the message is seen")
    assert broker.probe("q").consumers == 0
    channel.consume("q", 1)
    channel.receive(5)
    depth = broker.probe("q")
    assert (depth.ready, depth.consumers) == (0, 1)
    assert broker.probe("another") is None
    assert broker.probe("q") is not None


def test_a_purge_says_how_many_it_threw_away(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.send([Outgoing("q", b"x")] * 7)
    assert channel.flush(10)
    assert wait_until(lambda: broker.probe("q").ready == 7, "all are there")
    assert broker.purge("q") == 7
    assert broker.purge("q") == 0
    assert broker.purge("nowhere") == 0


def test_a_deleted_queue_is_told_to_the_consumer_that_wants_to_hear_of_it(broker):
    channel, gone = broker.channel(), threading.Event()
    channel.consume("wlm.worker.w.1", 3, gone=gone.set)
    wait_until(lambda: (depth := broker.probe("wlm.worker.w.1")) and depth.consumers, "it is consumed")
    assert broker.delete("wlm.worker.w.1")
    assert gone.wait(10)
    assert not broker.delete("wlm.worker.w.1")
    assert broker.probe("wlm.worker.w.1") is None


def test_a_queue_deleted_under_a_consumer_is_made_again(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 3)
    wait_until(lambda: broker.probe("q").consumers, "it is consumed")
    assert broker.delete("q")
    wait_until(lambda: (depth := broker.probe("q")) and depth.consumers, "it is consumed again")
    channel.publish("q", b"x")
    assert channel.receive(5).body == b"x"


def test_a_declared_queue_that_was_deleted_is_made_again_for_the_next_message(broker):
    channel = broker.channel()
    channel.declare("q")
    assert broker.delete("q")
    channel.publish("q", b"x")
    assert wait_until(lambda: (depth := broker.probe("q")) and depth.ready, "the message is there") == 1


def test_closing_wakes_whoever_waits_for_a_message(broker):
    channel = broker.channel()
    channel.consume("q", 1)
    got = []
    thread = threading.Thread(target=lambda: got.append(channel.receive(None)))
    thread.start()
    channel.close()
    thread.join(5)
    assert got == [None]


def test_a_closed_channel_takes_no_more_messages(broker):
    channel, heard = broker.channel(), []
    channel.declare("q")
    channel.close()
    channel.send([Outgoing("q", b"x", told=heard.append)])
    wait_until(lambda: heard, "the sender hears of it")
    assert isinstance(heard[0], BrokerError)


def test_a_waiting_consumer_is_woken_by_a_message(broker):
    channel = broker.channel()
    channel.consume("q", 1)
    got = []
    thread = threading.Thread(target=lambda: got.append(channel.receive(10)))
    thread.start()
    wait_until(lambda: broker.probe("q"), "the queue is there")
    broker.channel().publish("q", b"x")
    thread.join(10)
    assert got[0].body == b"x"


def test_receiving_ends_with_its_time_out(broker):
    channel = broker.channel()
    channel.consume("q", 1)
    start_s = time.monotonic()
    assert channel.receive(0.2) is None
    assert 0.15 < time.monotonic() - start_s < 5
    assert channel.receive_many(10, 0) == []


def test_an_unknown_delivery_is_not_acked_twice(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 1)
    channel.publish("q", b"a")
    delivery = channel.receive(5)
    channel.ack(delivery)
    channel.ack(delivery)
    channel.hand_back(delivery)
    channel.ack(Delivery("q", b"", 10_000))
    channel.publish("q", b"b")
    assert channel.receive(5).body == b"b"
