"""Each user of the broker may do its part and no more, with the lines of deploy/rabbitmq/permissions.sh."""

from __future__ import annotations

import subprocess

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from tests.services.rabbitmq_users import SCRIPT, permission_line, user_for
from tests.waiting import wait_until
from wlmctl.broker.contract import BrokerRefused, Outgoing, Unroutable
from wlmctl.queues import control_queue, marks_queue, type_queue, worker_queue

RESULTS, DEAD, JOBS = "wlm.results", "wlm.dead", type_queue("wlm", "job")


class Lab:
    """A vhost with an orchestrator's user, those of two worker hosts, and an operator's."""

    def __init__(self, rabbit, vhost, folder, connect):
        self.rabbit, self.vhost, self._connect = rabbit, vhost, connect
        self.logins = {}
        for name, part in (
            ("lead", "orchestrator"),
            ("one", "worker"),
            ("two", "worker"),
            ("oper", "operator"),
        ):
            self.logins[name] = user_for(rabbit, folder, vhost, part, f"{vhost}-{name}")
        self.workers = {name: f"{vhost}-{name}.host-abcdef" for name in ("one", "two")}

    def broker(self, name):
        return self._connect(self.logins[name].url)

    def own(self, name):
        worker = self.workers[name]
        return worker_queue("wlm", worker), control_queue("wlm", worker), marks_queue("wlm", worker)

    def raw(self, name):
        """A plain AMQP channel of that user, as one who does not use our code has it."""
        return pika.BlockingConnection(pika.URLParameters(self.logins[name].url))

    def refused(self, name, do):
        """True when the broker refuses that user what ``do`` does with a plain channel."""
        connection = self.raw(name)
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            try:
                do(channel)
            except ChannelClosedByBroker as error:
                return error.reply_code == 403
            return False
        finally:
            connection.close()


@pytest.fixture
def lab(rabbit, tmp_path, connect):
    vhost = rabbit.vhost()
    yield Lab(rabbit, vhost.name, tmp_path, connect)
    rabbit.remove_vhost(vhost.name)


@pytest.fixture
def fleet(lab):
    """A deployment as it stands once an orchestrator and both workers have come."""
    lead = lab.broker("lead")
    lab.leader = lead.channel()
    for queue in (RESULTS, JOBS):
        lab.leader.declare(queue)
    lab.leader.consume(RESULTS, 100)
    lab.channels = {}
    for name in ("one", "two"):
        lab.channels[name] = channel = lab.broker(name).channel()
        queue, control, marks = lab.own(name)
        for own, credit in ((queue, 5), (control, 5), (marks, None), (JOBS, 5)):
            channel.consume(own, credit, gone=lambda: None)
    for name in ("one", "two"):
        for queue in lab.own(name):
            wait_until(lambda queue=queue: getattr(lead.probe(queue), "consumers", 0), f"{queue} is consumed", 60)
    return lab


def test_a_worker_does_its_part(fleet):
    for queue in (JOBS, *fleet.own("one"), *fleet.own("two")):
        fleet.leader.publish(queue, queue.encode(), timeout_s=20)
    for name, channel in fleet.channels.items():
        awaited = set(fleet.own(name))
        while awaited:
            awaited.discard(channel.receive(20).queue)
        channel.publish(RESULTS, f"of {name}".encode(), timeout_s=20)
    assert wait_until(lambda: fleet.broker("lead").probe(JOBS).ready == 0, "one of them has the shared work")
    users = {fleet.leader.receive(20).user for _ in fleet.channels}
    assert users == {fleet.logins[name].user for name in fleet.channels}


def test_the_first_messages_for_a_workers_queue_come_in_their_order(fleet):
    own = fleet.own("one")[0]
    heard = []
    fleet.leader.send([Outgoing(own, b"%d" % number, told=heard.append) for number in range(500)])
    channel = fleet.channels["one"]
    for number in range(500):
        delivery = channel.receive(20)
        assert delivery.body == b"%d" % number
        channel.ack(delivery)
    assert fleet.leader.flush(30)
    assert heard == [None] * 500


def test_a_worker_buries_what_it_cannot_decode_and_an_operator_sees_and_requeues_it(fleet):
    own = fleet.own("one")[0]
    fleet.leader.publish(own, b"\xff", timeout_s=20)
    channel = fleet.channels["one"]
    channel.bury(channel.receive(20), "no message")
    operator = fleet.broker("oper")
    looking = operator.channel()
    looking.consume(DEAD, 1)
    dead = looking.receive(20)
    assert (dead.body, dead.reason, dead.origin) == (b"\xff", "no message", own)
    looking.publish(own, dead.body, timeout_s=20)
    looking.ack(dead)
    assert channel.receive(20).body == b"\xff"
    looking.publish(RESULTS, b"again", timeout_s=20)
    assert fleet.leader.receive(20).body == b"again"
    assert operator.probe(JOBS) is not None
    assert operator.purge(JOBS) == 0
    assert operator.delete(fleet.own("two")[0])
    with pytest.raises(BrokerRefused):
        operator.delete(JOBS)


def test_the_leader_removes_the_queues_of_a_dead_worker(fleet):
    leader = fleet.broker("lead")
    for queue in fleet.own("two"):
        assert leader.delete(queue)
        with pytest.raises(Unroutable):
            fleet.leader.publish(queue, b"x", timeout_s=20)


def test_a_worker_removes_its_own_queues(fleet):
    worker = fleet.broker("one")
    assert all(worker.delete(queue) for queue in fleet.own("one"))


def test_a_worker_that_comes_before_any_orchestrator_waits_for_one(lab, caplog):
    broker = lab.broker("one")
    heard = []
    channel = broker.channel()
    channel.consume(JOBS, 5)
    channel.send([Outgoing(RESULTS, b"result", told=heard.append)])
    wait_until(lambda: "is not there yet" in broker.state.reason, "it says what it waits for", 60)
    assert not heard
    leader = lab.broker("lead").channel()
    leader.declare(JOBS)
    leader.consume(RESULTS, 5)
    assert leader.receive(20).body == b"result"
    wait_until(lambda: heard == [None], "it is confirmed")
    leader.publish(JOBS, b"work", timeout_s=20)
    assert channel.receive(20).body == b"work"
    assert sum("is not there yet" in record.getMessage() for record in caplog.records) <= 2


def test_a_worker_cannot_publish_a_task_context(fleet):
    for queue in (JOBS, fleet.own("two")[0], fleet.own("one")[0]):
        with pytest.raises(BrokerRefused, match="ACCESS_REFUSED"):
            fleet.channels["one"].publish(queue, b"x", timeout_s=20)
        assert fleet.refused("one", lambda raw, queue=queue: raw.basic_publish("", queue, b"x"))
        assert fleet.refused("one", lambda raw, queue=queue: raw.basic_publish("wlm.work", queue, b"x"))
    # what it may publish reaches no queue of work
    for exchange in ("wlm.results", "wlm.dead"):
        connection = fleet.raw("one")
        channel = connection.channel()
        channel.confirm_delivery()
        with pytest.raises(pika.exceptions.UnroutableError):
            channel.basic_publish(exchange, JOBS, b"x", mandatory=True)
        connection.close()


def test_a_worker_cannot_publish_control_messages(fleet):
    for name in ("one", "two"):
        control = fleet.own(name)[1]
        with pytest.raises(BrokerRefused, match="ACCESS_REFUSED"):
            fleet.channels["one"].publish(control, b"x", timeout_s=20)
        assert fleet.refused("one", lambda raw, control=control: raw.basic_publish("wlm.control", control, b"x"))
        assert fleet.refused("one", lambda raw, control=control: raw.basic_publish("", control, b"x"))


@pytest.mark.parametrize("queue", [RESULTS, DEAD, "another's"])
def test_a_worker_cannot_read_or_delete_what_is_not_its_own(fleet, queue, caplog):
    for found in fleet.own("two") if queue == "another's" else (queue,):
        for do in (
            lambda raw, found=found: raw.basic_get(found),
            lambda raw, found=found: raw.basic_consume(found, lambda *_: None),
            lambda raw, found=found: raw.queue_purge(found),
            lambda raw, found=found: raw.queue_delete(found),
        ):
            assert fleet.refused("one", do)
        with pytest.raises(BrokerRefused, match="ACCESS_REFUSED"):
            fleet.broker("one").delete(found)
        channel = fleet.broker("one").channel()
        channel.consume(JOBS, 1)
        channel.consume(found, 1)
        wait_until(lambda found=found: f"queue {found} is not consumed" in caplog.text, "it is said", 60)
        channel.close()


def test_a_worker_cannot_have_what_is_not_its_own_brought_to_a_queue_of_its_own(fleet):
    own = f"wlm.worker.{fleet.logins['one'].user}.spy"
    for exchange, key in (
        ("wlm.work", JOBS),
        ("wlm.work", fleet.own("two")[0]),
        ("wlm.control", fleet.own("two")[1]),
        ("wlm.results", RESULTS),
        ("wlm.dead", DEAD),
    ):

        def bind(raw, exchange=exchange, key=key):
            raw.queue_declare(own, durable=True)
            raw.queue_bind(own, exchange, key)

        assert fleet.refused("one", bind)

    def bind_exchanges(raw):
        raw.exchange_declare(own)
        raw.exchange_bind(own, "wlm.work", JOBS)

    assert fleet.refused("one", bind_exchanges)


@pytest.mark.parametrize("exchange", ["", "wlm.work", "wlm.control"])
def test_a_worker_cannot_have_its_own_dead_letters_become_work(fleet, exchange):
    own = f"wlm.worker.{fleet.logins['one'].user}.spy"
    arguments = {"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": JOBS, "x-message-ttl": 0}
    assert fleet.refused("one", lambda raw: raw.queue_declare(own, durable=True, arguments=arguments))


def test_a_worker_cannot_speak_in_the_name_of_another_user(fleet):
    connection = fleet.raw("one")
    channel = connection.channel()
    channel.confirm_delivery()
    properties = pika.BasicProperties(user_id=fleet.logins["two"].user)
    with pytest.raises(ChannelClosedByBroker, match="user_id"):
        channel.basic_publish("wlm.results", RESULTS, b"x", properties)
    connection.close()


def test_nobody_else_makes_or_removes_exchanges(fleet):
    for name in ("one", "oper"):
        assert fleet.refused(name, lambda raw: raw.exchange_declare("wlm.other"))
        assert fleet.refused(name, lambda raw: raw.exchange_delete("wlm.work"))
        assert fleet.refused(name, lambda raw: raw.queue_declare("wlm.work.other"))
    assert fleet.refused("lead", lambda raw: raw.basic_publish("", RESULTS, b"x"))
    assert fleet.refused("lead", lambda raw: raw.queue_declare("other"))


def test_the_script_refuses_names_that_would_let_one_user_into_anothers_queues(tmp_path):
    assert permission_line(tmp_path, "worker", "host-1")[:3] == ["set_permissions", "-p", "wlm"]
    for arguments in (["worker", "a.b"], ["worker", ".*"], ["worker", ""], ["-x", "w.*", "worker", "a"], ["boss", "a"]):
        done = subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2, done
        assert len(done.stderr.splitlines()) == 1
