"""Queues that are there and answer nobody, as RabbitMQ may bring them back from a crash; here they are suspended."""

from __future__ import annotations

import pytest

from tests.waiting import wait_until
from wlmctl.broker.contract import BrokerError, Outgoing, Unroutable


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
    line.ack(line.receive(10))
    line.publish("q", b"y", timeout_s=10)
    while (delivery := line.receive(10)).body != b"y":
        line.ack(delivery)
    with pytest.raises(Unroutable):
        line.publish("stuck", b"x", timeout_s=10)


def test_a_queue_that_takes_no_consumer_is_told_as_gone(place, connect, suspend):
    broker = connect(place.url, queue_type="quorum")
    line, other, gone = broker.channel(), broker.channel(), []
    for queue in ("stuck", "q"):
        other.declare(queue)
    other.consume("q", 10)
    suspend("stuck")
    line.consume("stuck", 10, gone=lambda: gone.append("stuck"))
    wait_until(lambda: gone == ["stuck"], "the end of the queue is told", 60)
    other.publish("q", b"x", timeout_s=20)
    assert other.receive(20).body == b"x"


def test_a_question_about_a_queue_that_does_not_answer_is_given_up_and_others_are_answered(place, connect, suspend):
    broker = connect(place.url, queue_type="quorum")
    line = broker.channel()
    for queue in ("stuck", "q"):
        line.declare(queue)
    suspend("stuck")
    with pytest.raises(BrokerError):
        broker.purge("stuck", 60)
    assert broker.probe("q", 20) is not None
