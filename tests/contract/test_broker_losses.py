"""The contract of every broker: what comes back, what is void, and queues that go."""

from __future__ import annotations

import threading

from tests.brokers import drained, numbered
from tests.waiting import wait_until
from wlmctl.broker.contract import BrokerError, Outgoing

DEAD = "wlm.dead"


def test_closing_hands_back_what_was_not_acked_marked_as_redelivered(broker):
    first, second = broker.channel(), broker.channel()
    first.declare("q")
    first.consume("q", 10)
    first.publish("q", b"kept")
    first.publish("q", b"lost")
    first.ack(first.receive(20))
    assert not first.receive(20).redelivered
    second.consume("q", 10)
    first.close()
    again = second.receive(20)
    assert (again.body, again.redelivered) == (b"lost", True)


def test_a_message_handed_back_comes_again_before_later_ones(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 1)
    channel.publish("q", b"a")
    channel.publish("q", b"b")
    channel.hand_back(channel.receive(20))
    again = channel.receive(20)
    assert (again.body, again.redelivered) == (b"a", True)


def test_a_buried_message_is_a_dead_letter_with_its_reason_and_origin(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 1)
    channel.publish("q", b"\xff poison", priority=7)
    channel.publish("q", b"next")
    channel.bury(channel.receive(20), "cannot be decoded")
    assert channel.receive(20).body == b"next"
    reader = broker.channel()
    reader.consume(DEAD, 10)
    letter = reader.receive(20)
    assert (letter.body, letter.reason, letter.origin) == (b"\xff poison", "cannot be decoded", "q")
    assert letter.priority == 7, "it goes back as it came"


def test_a_lost_connection_voids_what_was_held_and_says_so(bench, broker):
    epochs = []
    channel = broker.channel(lost=epochs.append)
    channel.declare("q")
    channel.consume("q", 10)
    channel.publish("q", b"x")
    held = channel.receive(20)
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
    assert other.receive(20).body == b"x"


def test_messages_of_a_lost_connection_are_published_again(bench, broker):
    channel = broker.channel()
    channel.declare("q")
    reader = bench.peer().channel()
    reader.consume("q", 10_000)
    heard = []
    for start in range(0, 2000, 500):
        channel.send([Outgoing("q", b"%d" % n, told=heard.append) for n in range(start, start + 500)])
        bench.break_connections()
    assert channel.flush(60)
    assert heard == [None] * 2000
    assert drained(reader, 2000) == numbered(2000)


def test_watchers_are_told_how_it_stands_with_the_connection(bench, broker):
    channel, states = broker.channel(), []
    channel.declare("q")
    assert broker.state.is_up
    broker.watch(states.append)
    epoch = broker.state.epoch
    bench.break_connections()
    wait_until(lambda: states and states[-1].what == "connected", "it is connected again", 60)
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
    channel.receive(20)
    depth = broker.probe("q")
    assert (depth.ready, depth.consumers) == (0, 1)
    assert broker.probe("another") is None
    assert broker.probe("q") is not None


def test_a_purge_says_how_many_it_threw_away(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.send([Outgoing("q", b"x")] * 7)
    assert channel.flush(30)
    assert wait_until(lambda: broker.probe("q").ready == 7, "all are there")
    assert broker.purge("q") == 7
    assert broker.purge("q") == 0
    assert broker.purge("nowhere") == 0


def test_a_deleted_queue_is_told_to_the_consumer_that_wants_to_hear_of_it(broker):
    channel, gone = broker.channel(), threading.Event()
    channel.consume("wlm.worker.w.1", 3, gone=gone.set)
    wait_until(lambda: (depth := broker.probe("wlm.worker.w.1")) and depth.consumers, "it is consumed")
    assert broker.delete("wlm.worker.w.1")
    assert gone.wait(60)
    assert not broker.delete("wlm.worker.w.1")
    channel.consume("wlm.worker.w.1", 2, gone=gone.set)  # it was on its way already
    channel.consume("other", 1)
    wait_until(lambda: (depth := broker.probe("other")) and depth.consumers, "the other is consumed")
    assert broker.probe("wlm.worker.w.1") is None


def test_a_queue_deleted_under_a_consumer_is_made_again(broker):
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 3)
    wait_until(lambda: broker.probe("q").consumers, "it is consumed")
    assert broker.delete("q")
    wait_until(lambda: (depth := broker.probe("q")) and depth.consumers, "it is consumed again")
    channel.publish("q", b"x")
    assert channel.receive(20).body == b"x"


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
    thread.join(60)
    assert got == [None]


def test_a_closed_channel_takes_no_more_messages(broker):
    channel, heard = broker.channel(), []
    channel.declare("q")
    channel.close()
    channel.send([Outgoing("q", b"x", told=heard.append)])
    wait_until(lambda: heard, "the sender hears of it")
    assert isinstance(heard[0], BrokerError)
