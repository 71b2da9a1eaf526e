"""A RabbitMQ cluster of three: quorum queues lose nothing when the node that leads them is killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.commandline import CommandLine
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
        found = wait_until(lambda queue=queue: cluster.queue(place.name, queue), f"{queue} is listed")
        assert found["type"] == "quorum"
        wait_until(lambda queue=queue: members(cluster, place, queue) == 3, f"{queue} is on all three")


def members(cluster, place, queue):
    """On how many nodes a queue is known to be."""
    return len((cluster.queue(place.name, queue) or {}).get("members", ()))


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

        wait_until(step, what, 150)

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


EXPERIMENT = """
name: many
tasks:
  first:
    type: environment
    foreach: {n: 1..150}
    commands: ["echo ${n} >> $HOME/steps; sleep 0.02"]
  job:
    type: job
    foreach: {n: 1..50}
    command: "echo ${n} >> $HOME/jobs"
  last: {type: job, needs: [first, job], command: "echo done >> $HOME/jobs"}
"""


@pytest.mark.parametrize("connected", ["to that node", "to another"])
def test_a_run_loses_nothing_when_the_node_that_leads_its_queues_is_killed(cluster, tmp_path, connected):
    place = cluster.vhost()
    url = place.url if connected == "to that node" else reversed_hosts(place.url)
    line = CommandLine(tmp_path, {"WLMCTL_BROKER": url})
    (tmp_path / "lead").mkdir()
    first = CommandLine(tmp_path / "lead", {"WLMCTL_BROKER": place.url}, store_url=f"sqlite:///{line.store}")
    try:
        line.write("many.yaml", EXPERIMENT)
        leading = first.start("orchestrator")  # has made the queues, and so their leaders are where it is connected
        wait_until(lambda: cluster.queue(place.name, RESULTS), "the results have a queue")
        working = [line.start("worker", "--name", name, "--slots", "2") for name in ("one", "two")]
        id_ = line.run("submit", "many.yaml").stdout.strip()
        steps, jobs = (Path(line.environ["HOME"], name) for name in ("steps", "jobs"))
        wait_until(lambda: steps.exists() and len(steps.read_text().split()) > 10, "it is at work", 60)
        cluster.leader_of(place.name, RESULTS).kill()
        done = line.run("wait", id_, "--timeout", "150", code=None, timeout_s=170)
        assert done.returncode == 0, done.stdout + first.said(leading) + line.said(working[0])
        assert set(steps.read_text().split()) == {str(n) for n in range(1, 151)}
        assert sorted(jobs.read_text().split()) == sorted(["done", *(str(n) for n in range(1, 51))])
        assert all(task["attempt"] == 1 for task in line.tasks(id_).values())
    finally:
        first.close()
        line.close()
