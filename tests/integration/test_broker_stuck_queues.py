"""Queues that are there and answer nobody, as RabbitMQ may bring them back from a crash; here they are suspended."""

from __future__ import annotations

import time

import pytest

from tests.waiting import wait_until
from wlmctl.broker.contract import BrokerError, Outgoing, Unroutable
from wlmctl.broker.rabbitmq.link import TICK_S
from wlmctl.broker.rabbitmq.posts import PATIENCE_TICKS, Post, StuckQueues
from wlmctl.broker.rabbitmq.silence import Silence


@pytest.fixture
def suspend(node, place):
    """Have a quorum queue's process hear nothing any more."""
    suspended = []

    def suspend(queue):
        process = f"erlang:whereis('{place.name}_{queue}')"
        node.control("eval", f"sys:suspend({process}).")
        suspended.append(process)

    yield suspend
    for process in suspended:
        node.control("eval", f"sys:resume({process}).")


def test_a_queue_that_takes_no_messages_holds_up_neither_the_others_nor_the_acks(place, connect, suspend):
    line = connect(place.url, queue_type="quorum").channel()
    for queue in ("stuck", "q"):
        line.declare(queue)
    line.consume("q", 10)
    suspend("stuck")
    heard = {"stuck": [], "q": []}
    line.send([Outgoing(queue, b"x", told=heard[queue].append) for queue in ("stuck", "q")])
    wait_until(lambda: heard["stuck"] and heard["q"], "both are answered", 60)
    assert isinstance(heard["stuck"][0], Unroutable)
    assert heard["q"] == [None]
    line.ack(line.receive(20))
    line.publish("q", b"y", timeout_s=60)
    while (delivery := line.receive(20)).body != b"y":
        line.ack(delivery)
    with pytest.raises(Unroutable):
        line.publish("stuck", b"x", timeout_s=60)


def test_a_queue_that_takes_no_consumer_is_told_as_gone(place, connect, suspend):
    broker = connect(place.url, queue_type="quorum")
    line, other, gone = broker.channel(), broker.channel(), []
    for queue in ("stuck", "q"):
        other.declare(queue)
    other.consume("q", 10)
    suspend("stuck")
    line.consume("stuck", 10, gone=lambda: gone.append("stuck"))
    wait_until(lambda: gone == ["stuck"], "the end of the queue is told", 60)
    other.publish("q", b"x", timeout_s=60)
    assert other.receive(20).body == b"x"


def test_a_question_about_a_queue_that_does_not_answer_is_given_up_and_others_are_answered(place, connect, suspend):
    broker = connect(place.url, queue_type="quorum")
    line = broker.channel()
    for queue in ("stuck", "q"):
        line.declare(queue)
    suspend("stuck")
    with pytest.raises(BrokerError):
        broker.purge("stuck", 60)
    assert broker.probe("q", 60) is not None


@pytest.mark.long  # as long as it takes for a queue to count as stuck
def test_results_that_were_not_taken_for_a_while_are_taken_as_soon_as_it_is_over(node, place, connect, suspend, caplog):
    broker = connect(place.url, queue_type="quorum")
    line = broker.channel()
    line.declare("wlm.results")
    suspend("wlm.results")
    heard = []
    line.send([Outgoing("wlm.results", b"x", told=heard.append)])
    time.sleep((PATIENCE_TICKS + 4) * TICK_S)
    node.control("eval", f"sys:resume(erlang:whereis('{place.name}_wlm.results')).")
    wait_until(lambda: heard, "it is answered", 60)
    assert heard == [None]
    line.publish("wlm.results", b"y", timeout_s=5)
    assert "takes no messages" not in caplog.text


def test_while_the_broker_is_silent_altogether_no_queue_is_blamed_for_it():
    silence, stuck = Silence(12), StuckQueues(frozenset())
    post = Post(Outgoing("q", b"x"))
    found = [stuck.tick(post) for _ in range(100) if not silence.lasts(received_bytes=7)]
    assert len(found) == 12
    assert not any(found)
    live = (stuck.tick(post) for received in range(100) if not silence.lasts(received_bytes=received))
    assert "q" in live, "one that answers, but for this queue, leaves it out"
