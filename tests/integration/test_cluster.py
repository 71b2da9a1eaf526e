"""A RabbitMQ cluster of three: quorum queues lose nothing when the node that leads them is killed."""

from __future__ import annotations

import os

import pytest

from tests.services.rabbitmq_cluster import open_cluster
from tests.waiting import wait_until
from wlmctl.broker.contract import Outgoing
from wlmctl.queues import type_queue, worker_queue

WORK, OWN, RESULTS = type_queue("wlm", "job"), worker_queue("wlm", "u.host-abcdef"), "wlm.results"


@pytest.fixture(scope="module")
def formed(tmp_path_factory):
    try:
        with open_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
            yield cluster
    except LookupError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))


@pytest.fixture
def cluster(formed):
    formed.start()
    return formed


def test_a_url_that_names_several_hosts_gives_quorum_queues_on_all_of_them(cluster, connect):
    place = cluster.vhost()
    channel = connect(place.url).channel()
    for queue in (WORK, RESULTS):
        channel.declare(queue)
        channel.publish(queue, b"x", timeout_s=30)
        found = cluster.queue(place.name, queue)
        assert found["type"] == "quorum"
        assert len(found["members"]) == 3


def reversed_hosts(url):
    """The URL with its hosts the other way round: one connects to the first."""
    login, _, rest = url.partition("@")
    hosts, _, vhost = rest.partition("/")
    return f"{login}@{','.join(reversed(hosts.split(',')))}/{vhost}"


@pytest.mark.parametrize("connected", ["to that node", "to another"])
def test_nothing_is_lost_when_the_node_that_leads_a_queue_is_killed(cluster, connect, connected):
    place = cluster.vhost()
    making = connect(place.url).channel()  # who makes a queue has its leader where it is connected
    for queue in (WORK, OWN, RESULTS):
        making.declare(queue)
    url = place.url if connected == "to that node" else reversed_hosts(place.url)
    leader, worker = connect(url), connect(url)
    sending, working = leader.channel(), worker.channel()
    working.consume(WORK, 50)
    working.consume(OWN, 50)
    sending.consume(RESULTS, 1000)
    heard, results, sent = [], set(), 0

    def send(count):
        nonlocal sent
        queues = (WORK, OWN)
        posts = [Outgoing(queues[n % 2], b"%d" % n, told=heard.append) for n in range(sent, sent + count)]
        sent += count
        sending.send(posts)

    def work():
        """As a worker does: the result is confirmed before its task is acked."""
        for delivery in working.receive_many(50, 0.05):
            done = [delivery]
            working.send([Outgoing(RESULTS, delivery.body, told=lambda error, done=done: acked(error, done))])
        batch = sending.receive_many(500, 0.05)
        results.update(delivery.body for delivery in batch)
        sending.ack(*batch)

    def acked(error, done):
        assert error is None
        working.ack(*done)

    def works_until(enough, what):
        def step():
            work()
            return enough()

        wait_until(step, what, 60)

    send(500)
    works_until(lambda: len(results) > 100, "it has begun")
    victim = cluster.leader_of(place.name, WORK)
    assert victim is cluster.leader_of(place.name, RESULTS) is cluster.nodes[0]
    victim.kill()
    send(500)
    works_until(lambda: len(results) == sent, "each has its result")
    works_until(lambda: len(heard) == sent, "each was confirmed")
    assert heard == [None] * sent
    assert results == {b"%d" % number for number in range(sent)}
    victim.start()
    assert cluster.leader_of(place.name, WORK) in cluster.nodes
