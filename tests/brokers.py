"""Brokers of every kind for the tests of their contract."""

from __future__ import annotations

from tests.waiting import wait_until
from wlmctl.broker.contract import Outgoing
from wlmctl.broker.memory import MemoryBroker

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
            wait_until(lambda: self.rabbit.close_connections(self.vhost.name), "the broker knows the connection", 60)

    def close(self):
        for broker in self._brokers:
            broker.close()
        if self.kind != "memory":
            self.rabbit.remove_vhost(self.vhost.name)


def bodies(channel, count):
    found = []
    for _ in range(count):
        delivery = channel.receive(20)
        assert delivery is not None, f"only {found} came"
        found.append(delivery.body)
    return found


def nothing_comes(channel):
    return channel.receive(0.3) is None


def drained(channel, count):
    """The bodies of this many different messages, each acked."""
    seen = set()
    while len(seen) < count:
        batch = channel.receive_many(500, 40)
        assert batch, f"{count - len(seen)} messages are missing"
        seen.update(delivery.body for delivery in batch)
        channel.ack(*batch)
    return seen


def numbered(count):
    return {b"%d" % number for number in range(count)}


def send(channel, count, heard=None):
    told = heard.append if heard is not None else None
    channel.send([Outgoing("q", b"%d" % number, told=told) for number in range(count)])
