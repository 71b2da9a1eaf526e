"""Every way to lose RabbitMQ: nothing is lost with it, and what is waited for is said once."""

from __future__ import annotations

import logging

import pytest

from tests.brokers import drained, numbered, send
from tests.waiting import wait_until
from wlmctl.broker.contract import BrokerError, Outgoing


def test_a_stopped_broker_is_waited_for_and_said_once(node, line, caplog):
    send(line, 100)
    assert line.flush(30)
    node.stop()
    heard = []
    send(line, 50, heard)
    wait_until(lambda: line.broker.state.reason == "connection refused", "it waits")
    time_of_waiting = [r for r in caplog.records if "connection refused" in r.getMessage()]
    assert len(time_of_waiting) == 1
    assert f"127.0.0.1:{node.port}" in time_of_waiting[0].getMessage()
    assert "planted" not in caplog.text
    node.start()
    assert line.flush(30)
    assert heard == [None] * 50
    line.consume("q", 1000)
    assert drained(line, 100) == numbered(100)
    assert sum("is there again" in record.getMessage() for record in caplog.records) == 1


def test_what_a_killed_broker_had_not_confirmed_is_published_again_and_what_was_held_comes_again(node, line):
    line.consume("q", 10)
    line.publish("q", b"held")
    held = line.receive(20)
    node.pause()  # so that it cannot confirm
    heard = []
    send(line, 500, heard)
    assert not line.flush(0.1)
    assert not heard
    node.kill()
    node.start()
    assert line.flush(30)
    assert heard == [None] * 500
    line.ack(held)
    assert drained(line, 501) == numbered(500) | {b"held"}


def test_a_broker_without_its_data_gets_queues_and_messages_again(node, place, line):
    line.consume("q", 1000)
    node.stop()
    node.wipe()
    heard = []
    send(line, 50, heard)
    node.start()
    node.vhost(place.name)  # its administrator sets it up again
    assert drained(line, 50) == numbered(50)
    assert line.flush(30)
    assert heard == [None] * 50


def test_a_paused_broker_is_noticed_by_its_heartbeat_and_used_again(node, place, connect):
    broker = connect(place.url, heartbeat_s=1)
    line = broker.channel()
    line.declare("q")
    line.consume("q", 10)
    node.pause()
    try:
        wait_until(lambda: not broker.state.is_up, "the connection counts as lost")
        heard = []
        send(line, 20, heard)
    finally:
        node.resume()
    assert drained(line, 20) == numbered(20)
    assert heard == [None] * 20


@pytest.mark.parametrize("resource", ["memory", "disk"])
def test_an_alarm_holds_messages_until_it_ends(node, line, resource):
    line.consume("q", 100)
    send(line, 10)
    assert line.flush(30)
    states = []
    line.broker.watch(states.append)
    if resource == "memory":
        node.set_memory_alarm(True)
    else:
        node.control("set_disk_free_limit", "mem_relative", "1000000")
    try:
        heard = []
        line.send([Outgoing("q", b"later", told=heard.append)])
        wait_until(lambda: line.broker.state.what == "blocked", "it is blocked")
        assert resource in line.broker.state.reason
        assert drained(line, 10) == numbered(10)
        line.send([Outgoing("q", b"much later", told=heard.append)])
        assert not line.flush(0.3)
    finally:
        if resource == "memory":
            node.set_memory_alarm(False)
        else:
            node.control("set_disk_free_limit", "1MB")
    assert line.flush(30)
    assert heard == [None, None]
    assert drained(line, 2) == {b"later", b"much later"}
    assert [state.what for state in states] == ["blocked", "connected"]


def test_a_deleted_exchange_is_made_again_and_its_messages_published(node, place, line):
    heard = []
    node.api("DELETE", f"exchanges/{place.name}/wlm.work")
    send(line, 30, heard)
    assert line.flush(30)
    assert heard == [None] * 30
    line.consume("q", 100)
    assert drained(line, 30) == numbered(30)


def test_a_consumer_that_the_broker_has_forgotten_is_made_again(place, connect, caplog):
    broker = connect(place.url, zombie_s=0.5)
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 5)
    wait_until(lambda: broker.probe("q").consumers, "it consumes")
    line = channel._consuming
    tag = next(iter(line._subscriptions["q"].consumers))
    broker._link.call(lambda: line._channel.basic_cancel(tag))  # behind the line's back
    wait_until(lambda: broker.probe("q").consumers == 0, "it is a zombie")
    channel.publish("q", b"x")
    assert channel.receive(20).body == b"x"
    assert "consuming anew" in caplog.text


def test_a_quiet_queue_and_a_busy_consumer_are_no_zombies(place, connect, caplog):
    broker = connect(place.url, zombie_s=0.5)
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 1)
    channel.publish("q", b"a")
    channel.publish("q", b"b")
    held = channel.receive(20)
    assert channel.receive(3) is None
    channel.ack(held)
    channel.ack(channel.receive(20))
    assert channel.receive(2) is None
    assert "anew" not in caplog.text
    assert channel.epoch == 0


def test_a_bug_in_what_is_called_back_ends_nothing(line, caplog):
    caplog.set_level(logging.ERROR)

    def bug(*_):
        raise ZeroDivisionError("a planted bug")

    line.broker.watch(bug)
    line.send([Outgoing("q", b"a", told=bug)])
    line.broker._link.call(bug)  # in the module's own work: it costs the connection
    wait_until(lambda: line.broker.state.epoch >= 2, "it is connected again", 60)
    line.publish("q", b"b")
    line.consume("q", 10)
    assert {line.receive(20).body, line.receive(20).body} == {b"a", b"b"}
    assert caplog.text.count("a planted bug") >= 3


def test_transient_messages_are_forgotten_while_there_is_no_connection(node, line):
    node.stop()
    wait_until(lambda: not line.broker.state.is_up, "it is lost")
    heard = []
    line.send([Outgoing("q", b"beat", transient=True, told=heard.append)])
    wait_until(lambda: heard, "it is told")
    assert isinstance(heard[0], BrokerError)
    node.start()
    line.publish("q", b"result")
    line.consume("q", 5)
    assert line.receive(20).body == b"result"
    assert line.receive(0.3) is None


def test_closing_without_a_broker_takes_no_time(node, place, connect):
    broker = connect(place.url)
    assert broker.wait_connected(20)
    node.pause()
    try:
        broker.close()
        wait_until(lambda: broker.state.what == "closed", "it is closed, long before a heartbeat is missed", 20)
    finally:
        node.resume()
    with pytest.raises(BrokerError, match="closed"):
        broker.channel().publish("q", b"x")
