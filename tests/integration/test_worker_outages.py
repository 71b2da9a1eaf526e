"""A worker of a fleet whose broker is killed, forgets everything, or loses patience: steps go on, nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.leading import Leader, settle, waits_for_end
from tests.waiting import wait_until
from wlmctl.message import HeldMessage, ReturnedMessage, StartedMessage, StopMessage
from wlmctl.queues import type_queue, worker_queue
from wlmctl.task import Done
from wlmctl.worker import contact


@pytest.fixture
def leader(place: Any, connect: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Leader]:
    leader = Leader(connect(place.url), monkeypatch)
    yield leader
    leader.close()


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_step_goes_on_while_the_broker_is_killed_and_its_result_comes_after_the_restart(
    node: Any, place: Any, connect: Any, leader: Leader, go_on: threading.Event
) -> None:
    worker = leader.worker(connect(place.url), slots=1)
    leader.type.scripts["long"] = waits_for_end(go_on)
    message = leader.send("long")
    leader.wait(StartedMessage)
    node.kill()
    wait_until(lambda: not worker._broker.state.is_up, "the worker sees it")
    go_on.set()
    wait_until(lambda: not worker.executing(), "the step has ended")
    node.start()
    assert leader.result(message, 60).outcome.what == "done"
    assert leader.type.executed == ["long"]
    leader.beat(worker, lambda each: not each.started and not each.held, 60)
    wait_until(lambda: leader.broker.probe(type_queue("wlm", "a")).ready == 0, "the redelivered one is acked")  # type: ignore[union-attr]


def test_a_worker_whose_broker_has_forgotten_everything_finishes_and_is_one_no_longer(
    node: Any, place: Any, connect: Any, leader: Leader, go_on: threading.Event
) -> None:
    worker = leader.worker(connect(place.url), slots=1, redelivery_s=120)  # however long the restart takes
    leader.type.scripts["long"] = waits_for_end(go_on)
    message = leader.send("long", to=worker)
    leader.wait(StartedMessage)
    node.stop()
    node.wipe()
    node.start()
    node.vhost(place.name)
    wait_until(lambda: worker.is_queue_gone, "it notices", 60)
    go_on.set()
    assert leader.result(message, 60).outcome.what == "done"
    wait_until(worker.finished, "it is done")


def test_lasting_effects_wait_while_the_broker_is_away_for_too_long(
    node: Any, place: Any, connect: Any, leader: Leader, go_on: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact, "ORDERS_S", 600.0)  # however long the order takes
    worker = leader.worker(connect(place.url), slots=2, redelivery_s=2.0)
    effects = list[str]()

    def execution(context: Any) -> Done:
        go_on.wait(60)
        context.check_cancelled()
        effects.append(context.task)
        return Done()

    leader.type.scripts |= {"kept": execution, "stopped": execution}
    kept, stopped = leader.send("kept", to=worker), leader.send("stopped", to=worker)
    leader.beat(worker, lambda each: len(each.started) == 2)
    node.pause()  # as a cut network: the connection is there, nothing comes
    try:
        assert worker._contact is not None
        wait_until(lambda: worker._contact.is_silent, "nothing was heard for too long")  # type: ignore[union-attr]
        go_on.set()
        settle(lambda: effects == [], 0.5)
    finally:
        node.resume()
    leader.order(worker, StopMessage([stopped.key]))
    assert leader.result(stopped, 60).outcome.what == "cancelled"
    monkeypatch.setattr(contact, "ORDERS_S", 0.0)
    worker._contact._free_s = 0.0  # as if that time were over
    assert leader.result(kept, 60).outcome.what == "done"
    assert effects == ["kept"]


def test_a_step_that_takes_longer_than_the_brokers_patience_is_leased_and_ends_once(
    node: Any, connect: Any, monkeypatch: pytest.MonkeyPatch, go_on: threading.Event
) -> None:
    node.set_ack_timeout(6000)
    try:
        place = node.vhost()
        leader = Leader(connect(place.url), monkeypatch)
        worker = leader.worker(connect(place.url), slots=1, ack_timeout_s=2.0)
        leader.type.scripts["long"] = waits_for_end(go_on)
        message = leader.send("long")
        waiting = leader.send("waiting", to=worker)
        held = leader.wait(HeldMessage)
        assert held.key == message.key
        leader.beat(worker, lambda each: list(each.leased) == [message.key])
        assert leader.wait(ReturnedMessage).key == waiting.key, "what only waits is not kept either"
        for queue in (type_queue("wlm", "a"), worker_queue("wlm", "w")):
            assert leader.broker.probe(queue).ready == 0  # type: ignore[union-attr]
        settle(lambda: worker._work.epoch == 0, 7.5)
        go_on.set()
        assert leader.result(message).outcome.what == "done"
        assert leader.type.executed == ["long"]
        leader.close()
        node.remove_vhost(place.name)
    finally:
        node.set_ack_timeout(1_800_000)
