"""What RabbitMQ refuses, or is not there to refuse: said in a line, at once where waiting does not help."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from tests.brokers import drained, numbered, send
from tests.services.ports import free_port
from tests.waiting import wait_until
from wlmctl.broker.contract import BrokerError, BrokerRefused, Outgoing, TooLarge
from wlmctl.broker.rabbitmq import Tls


def test_a_broker_that_never_gets_its_vhost_again_refuses_in_the_end(node, place, connect):
    broker = connect(place.url, refusal_grace_s=1.0)
    channel = broker.channel()
    channel.declare("q")
    node.remove_vhost(place.name)
    with pytest.raises(BrokerRefused, match=f"no vhost '{place.name}'"):
        channel.receive(60)
    with pytest.raises(BrokerRefused):
        channel.publish("q", b"x")
    with pytest.raises(BrokerRefused):
        channel.declare("q")


def test_a_queue_that_is_another_connections_own_is_waited_for(place, connect, line):
    import pika

    other = pika.BlockingConnection(pika.URLParameters(place.url))
    other.channel().queue_declare("theirs", exclusive=True)
    with pytest.raises(BrokerError, match="RESOURCE_LOCKED"):
        line.declare("theirs")
    line.consume("theirs", 5)
    line.publish("q", b"the channel works all the same")
    other.close()
    line.publish("theirs", b"x")
    assert line.receive(20).body == b"x"


def test_a_message_held_beyond_the_ack_time_out_goes_back_and_the_channel_goes_on(node, place, connect, caplog):
    node.set_ack_timeout(1000)
    try:
        epochs = []
        broker, closures = connect(place.url), []
        broker.watch_closures(closures.append)
        channel = broker.channel(lost=epochs.append)
        channel.declare("q")
        channel.consume("q", 1)
        wait_until(lambda: broker.probe("q").consumers, "it consumes")
        node.set_ack_timeout(1_800_000)  # that of channels which are opened from now on
        channel.publish("q", b"long")
        held = channel.receive(20)
        again = channel.receive(60)
        assert (again.body, again.redelivered, again.epoch > held.epoch) == (b"long", True, True)
        assert epochs == [again.epoch]
        channel.ack(held)
        channel.ack(again)
        channel.publish("q", b"next")
        assert channel.receive(20).body == b"next"
        assert "ack time-out" in caplog.text
        assert ["1000 ms" in reason for reason in closures] == [True]
    finally:
        node.set_ack_timeout(1_800_000)


def test_a_message_over_the_brokers_own_limit_is_told_and_the_others_go_out(node, place, connect):
    node.control("eval", "application:set_env(rabbit, max_message_size, 5000).")
    try:
        channel, heard = connect(place.url).channel(), {}
        channel.declare("q")
        for name, size_bytes in (("a", 10), ("b", 6000), ("c", 10)):
            channel.send([Outgoing("q", b"x" * size_bytes, told=lambda error, name=name: heard.update({name: error}))])
        assert channel.flush(30)
        assert (heard["a"], heard["c"]) == (None, None)
        assert isinstance(heard["b"], TooLarge)
    finally:
        node.control("eval", "application:set_env(rabbit, max_message_size, 134217728).")


def test_a_user_without_permission_is_told_for_each_message_and_his_others_go_out(node, place, connect, line):
    line.declare("wlm.results")
    worker = node.user(place.name, f"{place.name}-w", ("^wlm\\.worker\\.w\\.", "^wlm\\.(results|dead)$", ".*"))
    channel, heard = connect(worker.url).channel(), {}
    for name, queue in (("a", "wlm.results"), ("b", "q"), ("c", "wlm.results")):
        channel.send([Outgoing(queue, name.encode(), told=lambda error, name=name: heard.update({name: error}))])
    assert channel.flush(30)
    assert (heard["a"], heard["c"]) == (None, None)
    assert isinstance(heard["b"], BrokerRefused)
    with pytest.raises(BrokerRefused, match=r"wlm\.work\.new"):
        channel.declare("wlm.work.new")
    with pytest.raises(BrokerRefused, match="ACCESS_REFUSED"):
        line.broker and connect(worker.url).delete("q")


def test_a_wrong_password_is_said_at_once(place, connect):
    broker = connect(place.url.replace(":planted-", ":wrong-"))
    start_s = time.monotonic()
    with pytest.raises(BrokerRefused, match=f"wrong password for user '{place.name}'") as caught:
        broker.wait_connected(60)
    assert time.monotonic() - start_s < 30
    assert caught.value.exit_code == 4
    assert "wrong-" not in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(BrokerRefused):
        broker.channel().receive(None)
    with pytest.raises(BrokerRefused):
        broker.channel().publish("q", b"x")
    with pytest.raises(BrokerRefused):
        broker.probe("q")


def test_a_missing_vhost_and_one_that_is_not_ours_are_said_at_once(node, place, connect):
    with pytest.raises(BrokerRefused, match=r"there is no vhost 'nosuch' \(rabbitmqctl add_vhost"):
        connect(place.url.rpartition("/")[0] + "/nosuch").wait_connected(60)
    other = node.vhost()
    with pytest.raises(BrokerRefused, match=f"may not use vhost '{other.name}'"):
        connect(place.url.rpartition("/")[0] + f"/{other.name}").wait_connected(60)


def tls_url(node, place):
    return place.url.replace("amqp:", "amqps:").replace(f":{node.port}/", f":{node.tls_port}/")


def test_tls_with_a_client_certificate_works(node, place, connect):
    broker = connect(tls_url(node, place), tls=Tls(node.authority.certificate, *node.client))
    channel = broker.channel()
    channel.declare("q")
    channel.consume("q", 1000)
    send(channel, 1000)
    assert channel.flush(30)
    assert drained(channel, 1000) == numbered(1000)
    channel.publish("q", b"x" * 5_000_000)
    assert len(channel.receive(20).body) == 5_000_000


def test_tls_that_is_refused_is_said_at_once(node, place, connect, tmp_path):
    url, authority = tls_url(node, place), node.authority.certificate
    with pytest.raises(BrokerRefused, match="certificate is not trusted"):
        connect(url).wait_connected(60)
    with pytest.raises(BrokerRefused, match="asks for a client certificate"):
        connect(url, tls=Tls(authority)).wait_connected(60)
    with pytest.raises(BrokerRefused, match="does not speak TLS"):
        connect(place.url.replace("amqp:", "amqps:"), tls=Tls(authority)).wait_connected(60)
    with pytest.raises(BrokerRefused, match=r"cannot be used .*nosuch\.pem"):
        connect(url, tls=Tls(tmp_path / "nosuch.pem")).wait_connected(60)


@pytest.mark.parametrize(
    ("host", "reason"), [("no-such-host.invalid", "name is not known"), ("127.0.0.1", "connection refused")]
)
def test_a_broker_that_is_not_there_is_waited_for(connect, host, reason, caplog):
    broker = connect(f"amqp://u:planted@{host}:{free_port('127.0.0.1')}/v")
    wait_until(lambda: reason in broker.state.reason, "it says what it waits for")
    assert not broker.wait_connected(0.5)
    assert broker.state.what == "connecting"
    assert sum(reason in record.getMessage() for record in caplog.records) == 1
    with pytest.raises(BrokerError, match=reason):
        broker.probe("q", timeout_s=0.2)
    with pytest.raises(BrokerError, match=reason):
        broker.channel().publish("q", b"x", timeout_s=0.2)
    assert "planted" not in caplog.text


@pytest.mark.parametrize("answer", ["silence", "the end"])
def test_a_port_that_is_no_broker_is_waited_for(connect, answer):
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    held.append(connection)
                    if answer == "the end":
                        connection.close()

        threading.Thread(target=accept, daemon=True).start()
        broker = connect(f"amqp://127.0.0.1:{server.getsockname()[1]}/")
        expected = "does not answer" if answer == "silence" else "closes the connection before AMQP begins"
        wait_until(lambda: expected in broker.state.reason, "it says what it waits for")
        assert broker.state.what == "connecting"
        server.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()
