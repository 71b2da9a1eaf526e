"""The process of a worker: its id, its logins, and how it ends; the test is the leader."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.leading import Leader, waits_for_end
from tests.waiting import wait_until
from wlmctl.broker.contract import BrokerRefused
from wlmctl.broker.rabbitmq import RabbitBroker, RabbitSettings
from wlmctl.config import Config
from wlmctl.machine import Machine, Reference
from wlmctl.message import DrainMessage, GoodbyeMessage, HeartbeatMessage, StartedMessage
from wlmctl.queues import queue_word, worker_queue
from wlmctl.runtime.worker_process import WorkerProcess, asking_machines


@pytest.fixture
def leader(vhost: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Leader]:
    broker = RabbitBroker(RabbitSettings(vhost.url))
    yield Leader(broker, monkeypatch, types=("a", "b"))
    broker.close()


@pytest.fixture
def config(vhost: Any, tmp_path: Path) -> Config:
    url = vhost.url.replace(f":{vhost.password}@", "@")
    local = Machine("local", scratch=str(tmp_path / "scratch"))
    return Config(
        store="sqlite:///none.db", broker=url, broker_secret=vhost.password, heartbeat_s=0.2, machines={"local": local}
    )


@pytest.fixture
def process(config: Config) -> Iterator[WorkerProcess]:
    process = WorkerProcess(
        config, slots=2, name="lab 1.example", types=["a"], labels=["gpu"], machines=["n*", "local"]
    )
    process.start()
    yield process
    process.stop()
    assert process.join(60)


def test_its_id_begins_with_its_login_at_the_broker_and_it_says_what_it_can_do(
    leader: Leader, process: WorkerProcess, vhost: Any
) -> None:
    beat = leader.wait(HeartbeatMessage)
    assert re.fullmatch(rf"{vhost.user}\.lab-1-example-[a-z2-7]{{6}}", beat.worker)
    assert beat.worker == process.worker_id
    info = beat.info
    assert (info.slots, info.types, info.labels, info.machines) == (2, ("a",), ("gpu",), ("n*", "local"))
    assert info.name == "lab-1-example"


def test_drain_finishes_what_has_begun_and_ends_the_process(leader: Leader, process: WorkerProcess) -> None:
    go_on = threading.Event()
    leader.type.scripts["long"] = waits_for_end(go_on)
    message = leader.send("long")
    leader.wait(StartedMessage)
    process.drain()
    assert not process.join(0.5)
    go_on.set()
    assert process.join(60)
    assert process.error() is None
    assert leader.result(message).outcome.what == "done"
    leader.wait(GoodbyeMessage)


def test_one_whose_queue_is_deleted_goes_on_under_a_new_id(leader: Leader, process: WorkerProcess) -> None:
    go_on = threading.Event()
    leader.type.scripts["long"] = waits_for_end(go_on)
    first_id = leader.wait(HeartbeatMessage).worker
    message = leader.send("long")
    leader.wait(StartedMessage)
    leader.broker.delete(worker_queue("wlm", first_id))
    second_id = leader.wait(HeartbeatMessage, lambda beat: beat.worker != first_id).worker
    assert process.worker_id == second_id
    newest = process._workers[-1]  # what is shared may come to the old one once more, which hands it back
    assert leader.result(leader.send("for the new one", to=newest)).worker == second_id
    go_on.set()
    assert leader.result(message).worker == first_id
    assert leader.wait(GoodbyeMessage).worker == first_id
    wait_until(lambda: len(process._workers) == 1, "the old one has ended")


def test_one_that_was_told_to_drain_takes_no_new_id_when_its_queue_is_deleted(
    leader: Leader, process: WorkerProcess
) -> None:
    go_on = threading.Event()
    leader.type.scripts["long"] = waits_for_end(go_on)
    first_id = leader.wait(HeartbeatMessage).worker
    message = leader.send("long")
    leader.wait(StartedMessage)
    leader.order(process._workers[0], DrainMessage())
    leader.wait(HeartbeatMessage, lambda beat: beat.is_draining)
    leader.broker.delete(worker_queue("wlm", first_id))
    wait_until(lambda: process._workers[0].is_queue_gone, "it has noticed")
    go_on.set()
    assert process.join(60)
    assert leader.result(message).worker == first_id
    assert leader.wait(GoodbyeMessage).worker == first_id


def test_a_wrong_password_ends_it(config: Config) -> None:
    process = WorkerProcess(replace(config, broker_secret="wrong"), slots=1)
    process.start()
    assert process.join(60)
    assert isinstance(process.error(), BrokerRefused)
    assert "wrong password" in str(process.error())


def test_its_own_inventory_says_how_to_log_in_and_nothing_else(config: Config) -> None:
    own = Machine("n1", host="elsewhere", user="me", key="~/.ssh/lab", passphrase=Reference("env", "P"), scratch="/own")
    machines = asking_machines(replace(config, machines={**config.machines, "n1": own}))
    seen = machines.seen_from_here(Machine("n1", host="n1.lab", user="leader", port=2222, scratch="/scratch"))
    assert (seen.host, seen.user, seen.port, seen.key) == ("n1.lab", "me", 2222, "~/.ssh/lab")
    assert (seen.passphrase, seen.scratch) == (Reference("env", "P"), "/scratch")
    local = machines.seen_from_here(Machine("local", scratch="/leader", cpus=4))
    assert (local.scratch, local.cpus) == (config.machines["local"].scratch, 4)
    stranger = Machine("n2", host="n2.lab")
    assert machines.seen_from_here(stranger) is stranger


@pytest.mark.parametrize(("text", "word"), [("a.b c", "a-b-c"), ("..", "worker"), ("node_7", "node_7")])
def test_a_name_is_made_safe_for_a_queue(text: str, word: str) -> None:
    assert queue_word(text) == word
