"""``wlmctl queue`` and ``doctor`` at a real RabbitMQ, as an operator uses them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import CommandLine
from tests.services.rabbitmq import Rabbit, RabbitNode, Vhost
from tests.services.rabbitmq_users import user_for
from tests.waiting import wait_until
from wlmctl.broker.rabbitmq import RabbitBroker, RabbitSettings
from wlmctl.queues import control_queue, marks_queue, type_queue, worker_queue
from wlmctl.store import open_database, workers

WORKER = "u.box-abcdef"
INFO = {
    "name": "box", "host": "h", "host_name": "box.example", "user": "me", "pid": 7, "slots": 4, "types": ["job"],
    "labels": [], "machines": ["*"], "schemas": [1], "version": "0.1",
}  # fmt: skip


@pytest.fixture
def line(tmp_path: Path, rabbit: Rabbit, vhost: Vhost, broker: RabbitBroker) -> CommandLine:
    """The commands with the login of an operator, who may not do more than they need."""
    assert broker.state.is_up
    operator = user_for(rabbit, tmp_path, vhost.name, "operator", f"{vhost.name}o")
    return CommandLine(tmp_path, {"WLMCTL_BROKER": operator.url})


@pytest.fixture
def broker(vhost: Vhost) -> Iterator[RabbitBroker]:
    """A broker where an orchestrator has been."""
    broker = RabbitBroker(RabbitSettings(vhost.url))
    assert broker.wait_connected(60)
    yield broker
    broker.close()


def bury(broker: RabbitBroker, queue: str, body: bytes, reason: str) -> None:
    """A message of that queue becomes a dead letter."""
    channel = broker.channel()
    channel.declare(queue)
    channel.publish(queue, body, timeout_s=60)
    channel.consume(queue, 1)
    delivery = channel.receive(20)
    assert delivery is not None
    channel.bury(delivery, reason)
    assert channel.flush(30)
    channel.close()


def depth(broker: RabbitBroker, queue: str) -> int | None:
    found = broker.probe(queue)
    return None if found is None else found.ready


def queues(line: CommandLine) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in line.json("queue", "list")["queues"]}


def test_queue_list_shows_what_waits_and_who_consumes(line: CommandLine, broker: RabbitBroker) -> None:
    with open_database(line.environ["WLMCTL_STORE"]) as db, db.transaction():
        workers.put(db, WORKER, INFO, workers.ALIVE, 1.0)
    channel = broker.channel()
    for queue in (type_queue("wlm", "job"), worker_queue("wlm", WORKER)):
        channel.declare(queue)
    channel.publish(type_queue("wlm", "job"), b"1", timeout_s=60)
    channel.consume(worker_queue("wlm", WORKER), 1)
    wait_until(lambda: broker.probe(worker_queue("wlm", WORKER)).consumers == 1, "the consumer is there")  # type: ignore[union-attr]
    found = queues(line)
    assert found["wlm.work.job"] == {"name": "wlm.work.job", "ready": 1, "consumers": 0, "worker": None}
    assert found[worker_queue("wlm", WORKER)]["consumers"] == 1
    assert found[worker_queue("wlm", WORKER)]["worker"] == WORKER
    assert "wlm.work.stage" not in found
    text = line.run("queue", "list").stdout.splitlines()
    assert text[0].split() == ["QUEUE", "READY", "CONSUMERS", "WORKER"]
    assert ["wlm.work.job", "1", "0", "-"] in [row.split() for row in text]


def test_dead_letters_are_shown_and_stay(line: CommandLine, broker: RabbitBroker) -> None:
    bury(broker, "wlm.results", b"\x00nonsense", "it is no message")
    wait_until(lambda: depth(broker, "wlm.dead") == 1, "the dead letter is there")
    for _ in range(2):
        (letter,) = line.json("queue", "dead")["dead"]
        assert letter == {
            "origin": "wlm.results", "reason": "it is no message", "size_bytes": 9, "body": "\x00nonsense"
        }  # fmt: skip
        wait_until(lambda: depth(broker, "wlm.dead") == 1, "it is handed back")
    text = line.run("queue", "dead").stdout
    assert "wlm.results: it is no message" in text
    assert r"9 bytes: \x00nonsense" in text


def test_requeue_puts_dead_letters_back_where_they_came_from(line: CommandLine, broker: RabbitBroker) -> None:
    bury(broker, "wlm.results", b"{}", "a try")
    bury(broker, "wlm.work.gone", b"{}", "another try")
    wait_until(lambda: depth(broker, "wlm.dead") == 2, "the dead letters are there")
    broker.delete("wlm.work.gone")
    done = line.run("queue", "requeue", code=1)
    assert done.stdout == "stays a dead letter: there is no queue wlm.work.gone any more\n1 message put back\n"
    wait_until(lambda: depth(broker, "wlm.dead") == 1, "one stays")
    assert depth(broker, "wlm.results") == 1


def test_purge_empties_a_queue_by_its_name(line: CommandLine, broker: RabbitBroker) -> None:
    channel = broker.channel()
    channel.declare("wlm.work.job")
    channel.publish("wlm.work.job", b"1", timeout_s=60)
    assert line.run("queue", "purge", "work.job").stdout == "wlm.work.job: 1 message thrown away\n"
    assert depth(broker, "wlm.work.job") == 0
    assert "no queue 'work.jobs'" in line.run("queue", "purge", "work.jobs", code=3).stderr
    assert "expected the names of queues, or --stale" in line.run("queue", "purge", code=2).stderr


def test_purge_throws_nothing_away_where_one_of_the_names_is_wrong(line: CommandLine, broker: RabbitBroker) -> None:
    channel = broker.channel()
    channel.declare("wlm.work.job")
    channel.publish("wlm.work.job", b"kept")
    said = line.run("queue", "purge", "work.job", "work.jobs", code=3).stderr
    assert "no queue 'work.jobs', nothing is thrown away" in said
    assert line.run("queue", "purge", "work.job", "wlm.work.job").stdout == "wlm.work.job: 1 message thrown away\n"


def test_purge_stale_deletes_the_queues_of_workers_that_are_gone(line: CommandLine, broker: RabbitBroker) -> None:
    with open_database(line.environ["WLMCTL_STORE"]) as db, db.transaction():
        for worker in (WORKER, "u.alive-222222"):
            workers.put(db, worker, INFO, workers.ALIVE, 1.0)
        workers.end(db, WORKER, workers.DEAD, 2.0, "it fell silent")
    own = [make("wlm", WORKER) for make in (worker_queue, control_queue, marks_queue)]
    channel = broker.channel()
    for queue in (*own, worker_queue("wlm", "u.alive-222222")):
        channel.declare(queue)
    assert sorted(line.json("queue", "purge", "--stale")["deleted"]) == sorted(own)
    assert [broker.probe(queue) for queue in own] == [None, None, None]
    assert broker.probe(worker_queue("wlm", "u.alive-222222")) is not None
    assert line.run("queue", "purge", "--stale").stderr == "wlmctl: there are no stale queues\n"


def test_a_wrong_password_ends_a_command_with_4_and_one_line(line: CommandLine, vhost: Vhost) -> None:
    line.environ["WLMCTL_BROKER"] = vhost.url.replace(vhost.password, "planted-wrong")
    done = line.run("queue", "list", code=4)
    assert done.stderr.count("\n") == 1
    assert f"login refused: wrong password for user '{vhost.user}'" in done.stderr
    assert "planted" not in done.stderr


def test_a_broker_with_tls_is_reached_with_the_files_that_the_configuration_names(
    line: CommandLine, rabbit: Rabbit, vhost: Vhost
) -> None:
    if not isinstance(rabbit, RabbitNode):
        pytest.skip("this broker has no TLS listener of its own")
    certificate, key = rabbit.client
    files = f'[tls]\nca = "{rabbit.authority.certificate}"\ncert = "{certificate}"\nkey = "{key}"\n'
    line.environ["WLMCTL_BROKER"] = f"amqps://{vhost.user}:{vhost.password}@127.0.0.1:{rabbit.tls_port}/{vhost.name}"
    line.write("wlmctl.toml", files)
    assert "wlm.dead" in queues(line)
    line.write("wlmctl.toml", files.partition("cert")[0])
    assert "asks for a client certificate ([tls] cert, key)" in line.run("queue", "list", code=4).stderr
    line.write("wlmctl.toml", "")
    assert "certificate is not trusted" in line.run("queue", "list", code=4).stderr


def test_a_broker_that_is_away_ends_a_command_with_4(line: CommandLine) -> None:
    line.environ["WLMCTL_BROKER"] = "amqp://u:planted@127.0.0.1:1/"
    done = line.run("queue", "list", code=4)
    assert "wlmctl: the broker amqp://u@127.0.0.1:1/ cannot be reached: connection refused" in done.stderr


@pytest.mark.parametrize("command", [("queue", "list"), ("queue", "dead"), ("worker",)])
def test_without_a_broker_of_its_own_a_command_says_what_to_set(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = CommandLine(tmp_path).run(*command, code=2)
    assert done.stderr.count("\n") == 1
    assert 'set broker = "amqp://USER@HOST/VHOST" in wlmctl.toml or WLMCTL_BROKER' in done.stderr


def checks(line: CommandLine, code: int = 0) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for check in json.loads(line.run("doctor", "-o", "json", code=code).stdout)["checks"]:
        found.setdefault(check["name"], []).append(check)
    return found


def test_doctor_tells_of_the_broker_what_can_be_seen_of_it(line: CommandLine, vhost: Vhost) -> None:
    line.environ["WLMCTL_BROKER"] = vhost.url
    found = checks(line)
    texts = [check["text"] for check in found["broker"]]
    assert f"amqp://{vhost.user}@127.0.0.1:" in texts[0]
    assert "RabbitMQ" in texts[0]
    assert any("may write to the default exchange" in text for text in texts)
    assert any("queue_type auto: classic" in text for text in texts)
    assert any("ack_timeout 30m 00s" in text and "rabbitmqctl eval" in text for text in texts)
    assert [check["text"] for check in found["workers"]] == ["none is live: nothing is executed"]


@pytest.mark.parametrize("part", ["orchestrator", "worker"])
def test_doctor_finds_nothing_too_wide_in_least_permissions(
    line: CommandLine, rabbit: Rabbit, vhost: Vhost, part: str, tmp_path: Path
) -> None:
    line.environ["WLMCTL_BROKER"] = user_for(rabbit, tmp_path, vhost.name, part, f"{vhost.name}u").url
    assert not any("default exchange" in check["text"] for check in checks(line)["broker"])


def test_doctor_names_a_broker_that_refuses(line: CommandLine, vhost: Vhost) -> None:
    line.environ["WLMCTL_BROKER"] = vhost.url.replace(vhost.password, "planted-wrong")
    problems = [check["text"] for check in checks(line, code=1)["broker"] if check["level"] == "problem"]
    assert len(problems) == 1
    assert "login refused" in problems[0]


def test_a_login_or_a_file_of_tls_that_is_not_there_is_one_line_and_a_finding_of_doctor(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    line.write("wlmctl.toml", 'broker = "amqps://u@localhost/v"\nbroker_password = {env = "NOT_SET"}\n')
    done = line.run("worker", code=2)
    assert done.stderr == "wlmctl: broker_password: the environment variable NOT_SET is not set\n"
    line.write("wlmctl.toml", 'broker = "amqps://u:p@localhost/v"\n[tls]\nca = "gone.pem"\n')
    said = f"[tls] ca: {tmp_path}/gone.pem: no such file or directory"
    assert said in line.run("queue", "list", code=2).stderr
    assert f"PROBLEM broker          {said}" in line.run("doctor", code=1).stdout
