"""A worker of a fleet over RabbitMQ, with the test as its leader."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.leading import Leader, settle, waits_for_end
from tests.waiting import wait_until
from wlmctl.broker.contract import Broker, Outgoing, Unroutable
from wlmctl.message import (
    AskMessage,
    CloseIdleMessage,
    DrainMessage,
    GoodbyeMessage,
    GrantMessage,
    MarkMessage,
    PermitsBackMessage,
    ResultMessage,
    ReturnedMessage,
    StartedMessage,
    StopMessage,
    TaskKey,
    encode,
)
from wlmctl.queues import DEAD, control_queue, marks_queue, type_queue, worker_queue
from wlmctl.task import Done
from wlmctl.worker import intake

Connect = Callable[[], Broker]


@pytest.fixture
def connect(rabbit: Any) -> Iterator[Connect]:
    """Gives connections to one vhost."""
    from wlmctl.broker.rabbitmq import RabbitBroker, RabbitSettings

    vhost, brokers = rabbit.vhost(), list[Any]()

    def connect() -> Broker:
        broker = RabbitBroker(RabbitSettings(vhost.url, heartbeat_s=1))
        brokers.append(broker)
        return broker

    connect.vhost = vhost.name  # type: ignore[attr-defined]
    yield connect
    for broker in brokers:
        broker.close()
    rabbit.remove_vhost(vhost.name)


@pytest.fixture
def leader(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Iterator[Leader]:
    leader = Leader(connect(), monkeypatch)
    yield leader
    leader.close()


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def cut(rabbit: Any, connect: Connect) -> None:
    """What a broken connection does to all of this vhost."""
    wait_until(lambda: rabbit.close_connections(connect.vhost), "the broker knows the connections", 20)  # type: ignore[attr-defined]


def test_five_thousand_tasks_go_through_one_worker_and_each_is_answered_once(leader: Leader, connect: Connect) -> None:
    messages = [leader.message(key=TaskKey(1, number, 1, 1)) for number in range(5000)]
    leader.channel.send([Outgoing(type_queue("wlm", "a"), encode(message)) for message in messages])
    leader.worker(connect(), slots=4)
    raised = set[TaskKey]()

    def all_have_ended() -> bool:
        leader.listen()
        returned = {said.key: said.reason for said in leader.said if isinstance(said, ReturnedMessage)}
        for key in returned.keys() - raised:  # delivered to a consumer on its way out, as the credit fell
            raised.add(key)
            leader.send(key=replace(key, dispatch=key.dispatch + 1))
        return len(leader.results()) >= 5000

    wait_until(all_have_ended, "all have ended", 60)
    assert sorted(key.idx for key in leader.results()) == list(range(5000))
    assert len(raised) < 500
    assert not any(isinstance(said, StartedMessage) for said in leader.said)


def test_results_that_end_together_travel_together_and_one_alone_at_once(leader: Leader, connect: Connect) -> None:
    leader.worker(connect(), slots=4)
    first = leader.send()
    leader.result(first)
    messages = [leader.message() for _ in range(300)]
    leader.channel.send([Outgoing(type_queue("wlm", "a"), encode(message)) for message in messages])
    wait_until(lambda: len(leader.results()) >= 301, "all have ended")
    carried = [sum(isinstance(each, ResultMessage) for each in body) for body in leader.bodies]
    assert max(carried) > 1
    assert sum(1 for count in carried if count) < 301


def test_a_delivery_is_acked_only_when_the_broker_has_its_result(leader: Leader, connect: Connect) -> None:
    broker = connect()
    worker = leader.worker(broker)
    held = list[Outgoing]()
    send = worker._results.send
    worker._results.send = held.extend  # type: ignore[method-assign,assignment]
    message = leader.send()
    wait_until(lambda: any(not each.transient for each in held), "the result is on its way")
    assert worker._book.knows(message), "it is listed until its result is confirmed"
    settle(lambda: worker._work._consuming._unacked, 0.3)  # type: ignore[attr-defined]
    worker._results.send = send  # type: ignore[method-assign]
    send(held)
    leader.result(message)
    wait_until(lambda: not worker._work._consuming._unacked, "the delivery is acked")  # type: ignore[attr-defined]


def test_heartbeats_list_what_is_held_and_what_has_started_until_the_result_is_confirmed(
    leader: Leader, connect: Connect, go_on: threading.Event
) -> None:
    worker = leader.worker(connect(), slots=1)
    leader.type.scripts["long"] = waits_for_end(go_on)
    first, second = leader.send("long", to=worker), leader.send(to=worker)
    beat = leader.beat(worker, lambda each: first.key in each.started)
    assert not beat.is_draining
    assert beat.info.slots == 1
    leader.beat(worker, lambda each: list(each.started) == [first.key] and list(each.held) in ([], [second.key]))
    go_on.set()
    leader.result(first)
    leader.result(second)
    leader.beat(worker, lambda each: not each.held and not each.started)


def test_a_step_that_takes_a_moment_is_said_to_have_started_and_a_short_one_only_to_have_ended(
    leader: Leader, connect: Connect, go_on: threading.Event
) -> None:
    leader.worker(connect())
    leader.result(leader.send())
    leader.type.scripts["long"] = waits_for_end(go_on)
    long = leader.send("long")
    assert leader.wait(StartedMessage).key == long.key
    go_on.set()
    assert leader.result(long).took_s > 0.02


def test_marks_are_repeated_once_all_before_them_is_taken(
    leader: Leader, connect: Connect, go_on: threading.Event, rabbit: Any
) -> None:
    worker = leader.worker(connect(), slots=4)
    leader.type.scripts["long"] = waits_for_end(go_on)
    message = leader.send("long")
    leader.wait(StartedMessage)
    leader.mark(worker, MarkMessage(7))
    beat = leader.beat(worker, lambda each: each.mark == 7)
    assert message.key in beat.started
    cut(rabbit, connect)
    leader.beat(worker, lambda each: each.mark == 0 and message.key in each.started)


def test_what_is_delivered_again_is_handed_back_and_not_executed(leader: Leader, connect: Connect) -> None:
    thief = connect().channel()
    thief.consume(type_queue("wlm", "a"), 10)
    message = leader.send()
    assert thief.receive(10) is not None
    leader.worker(connect())
    thief.close()
    returned = leader.wait(ReturnedMessage)
    assert (returned.key, returned.nonce, returned.reason) == (message.key, "nonce", "redelivered")
    assert leader.type.executed == []
    wait_until(lambda: leader.broker.probe(type_queue("wlm", "a")).ready == 0, "it is acked")  # type: ignore[union-attr]


def test_a_connection_that_breaks_costs_no_step_and_what_had_not_begun_is_left_to_others(
    leader: Leader, connect: Connect, go_on: threading.Event, rabbit: Any
) -> None:
    worker = leader.worker(connect(), slots=1)
    leader.type.scripts["long"] = waits_for_end(go_on)
    first = leader.send("long")
    leader.beat(worker, lambda each: first.key in each.started)
    second = leader.send("second", to=worker)
    leader.beat(worker, lambda each: second.key in each.held)
    cut(rabbit, connect)
    leader.beat(worker, lambda each: list(each.started) == [first.key])
    assert leader.wait(ReturnedMessage).key == second.key
    go_on.set()
    assert leader.result(first).outcome.what == "done"
    leader.beat(worker, lambda each: not each.started and not each.held)
    assert leader.type.executed == ["long"]
    assert [each for each in leader.said if isinstance(each, ReturnedMessage) and each.key == first.key] == []
    wait_until(lambda: leader.broker.probe(worker_queue("wlm", "w")).ready == 0, "all is acked")  # type: ignore[union-attr]


def test_a_dispatch_that_is_sent_twice_is_executed_and_answered_once(
    leader: Leader, connect: Connect, go_on: threading.Event
) -> None:
    worker = leader.worker(connect(), slots=2)
    leader.type.scripts["long"] = waits_for_end(go_on)
    message = leader.send("long", to=worker)
    leader.wait(StartedMessage)
    leader.resend(message, worker)
    leader.result(leader.send("after", to=worker))
    go_on.set()
    leader.result(message)
    leader.beat(worker, lambda each: not each.started)
    assert leader.type.executed == ["long", "after"]
    assert leader.results().count(message.key) == 1


def test_what_no_slot_comes_free_for_is_handed_back_so_that_others_may_have_it(
    leader: Leader, connect: Connect, go_on: threading.Event
) -> None:
    worker = leader.worker(connect(), slots=2, types=("a", "b"))
    leader.type.scripts["long"] = waits_for_end(go_on)
    long = [leader.send("long", "a") for _ in range(2)]
    leader.beat(worker, lambda each: len(each.started) == 2)
    other, own = leader.send("other", "b"), leader.send("own", "b", to=worker)
    returned = leader.wait(ReturnedMessage)
    assert (returned.key, returned.reason) == (other.key, "busy")
    go_on.set()
    for message in (*long, own):
        leader.result(message)
    assert leader.type.executed == ["long", "long", "own"]


def test_higher_priority_begins_first(
    leader: Leader, connect: Connect, go_on: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BUSY_S", 60.0)
    worker = leader.worker(connect(), slots=1, types=("a", "b"))
    leader.type.scripts["long"] = waits_for_end(go_on)
    leader.send("long")
    leader.wait(StartedMessage)
    low, high = leader.send("low", to=worker, priority=1), leader.send("high", "b", priority=9)
    leader.beat(worker, lambda each: {*each.held} == {low.key, high.key})
    go_on.set()
    leader.result(low)
    assert leader.type.executed == ["long", "high", "low"]


def test_a_stop_reaches_what_executes_and_what_waits(leader: Leader, connect: Connect, go_on: threading.Event) -> None:
    worker = leader.worker(connect(), slots=1)
    leader.type.scripts["long"] = waits_for_end(go_on)
    executing = leader.send("long")
    leader.wait(StartedMessage)
    waiting = leader.send("waiting", to=worker)
    leader.beat(worker, lambda each: waiting.key in each.held)
    leader.order(worker, StopMessage([waiting.key]))
    assert leader.result(waiting).outcome.what == "cancelled"
    leader.order(worker, StopMessage([executing.key]))
    assert leader.result(executing).outcome.what == "cancelled"
    leader.result(leader.send("after", to=worker))
    assert leader.type.executed == ["long", "after"]


def test_a_worker_that_is_drained_finishes_hands_back_the_rest_and_says_goodbye(
    leader: Leader, connect: Connect, go_on: threading.Event
) -> None:
    worker = leader.worker(connect(), slots=2, types=("a", "b"))
    leader.type.scripts["long"] = waits_for_end(go_on)
    first, second = leader.send("long", to=worker), leader.send("long", to=worker)
    leader.beat(worker, lambda each: len(each.started) == 2)
    leader.order(worker, DrainMessage())
    leader.beat(worker, lambda each: each.is_draining)
    late = leader.send("late", to=worker)
    returned = leader.wait(ReturnedMessage)
    assert (returned.key, returned.reason) == (late.key, "draining")
    leader.send("for others", "b")
    settle(lambda: not worker.finished(), 0.3)
    go_on.set()
    assert leader.result(first).outcome.what == leader.result(second).outcome.what == "done"
    assert leader.wait(GoodbyeMessage).worker == "w"
    wait_until(worker.finished, "it is done")
    for queue in (worker_queue, control_queue, marks_queue):
        assert leader.broker.probe(queue("wlm", "w")) is None
    assert leader.broker.probe(type_queue("wlm", "b")).ready == 1  # type: ignore[union-attr]
    worker.close(1)
    assert "late" not in leader.type.executed


def test_a_worker_told_to_stop_now_breaks_steps_off_and_says_so(
    leader: Leader, connect: Connect, go_on: threading.Event
) -> None:
    worker = leader.worker(connect())
    leader.type.scripts["long"] = waits_for_end(go_on)
    message = leader.send("long")
    leader.wait(StartedMessage)
    worker.drain("SIGTERM")
    begun_s = time.monotonic()
    worker.close(10)
    assert time.monotonic() - begun_s < 5
    assert leader.result(message).outcome.what == "cancelled"
    leader.wait(GoodbyeMessage)


def test_a_worker_whose_queue_is_deleted_finishes_what_it_has_begun_and_is_one_no_longer(
    leader: Leader, connect: Connect, go_on: threading.Event
) -> None:
    worker = leader.worker(connect())
    leader.type.scripts["long"] = waits_for_end(go_on)
    message = leader.send("long")
    leader.wait(StartedMessage)
    leader.broker.delete(worker_queue("wlm", "w"))
    wait_until(lambda: worker.is_queue_gone, "it notices")
    leader.beat(worker, lambda each: each.is_draining and message.key in each.started)
    go_on.set()
    assert leader.result(message).outcome.what == "done"
    wait_until(worker.finished, "it is done")
    assert leader.broker.probe(control_queue("wlm", "w")) is None


def test_a_dispatch_that_is_to_be_alone_waits_for_the_others_and_lets_none_in(
    leader: Leader, connect: Connect, go_on: threading.Event
) -> None:
    worker = leader.worker(connect(), slots=2)
    is_alone = threading.Event()
    leader.type.scripts |= {"long": waits_for_end(go_on), "alone": waits_for_end(is_alone)}
    try:
        first = leader.send("long", to=worker)
        leader.beat(worker, lambda each: first.key in each.started)
        alone = leader.send("alone", to=worker, alone=True)
        leader.beat(worker, lambda each: alone.key in each.held)
        other = leader.send("other")
        settle(lambda: leader.type.executed == ["long"], 0.3)
        go_on.set()
        leader.result(first)
        leader.beat(worker, lambda each: list(each.started) == [alone.key])
        settle(lambda: leader.type.executed == ["long", "alone"], 0.3)
    finally:
        is_alone.set()
    assert leader.result(alone).outcome.what == "done"
    busy = [each.key for each in leader.said if isinstance(each, ReturnedMessage)]
    if other.key not in busy:
        leader.result(other)
    assert leader.result(leader.send("after")).outcome.what == "done"


def test_a_careful_dispatch_does_nothing_before_the_broker_knows_that_it_has_started(
    leader: Leader, connect: Connect
) -> None:
    worker = leader.worker(connect())
    held = list[Outgoing]()
    send = worker._results.send
    worker._results.send = held.extend  # type: ignore[method-assign,assignment]
    message = leader.send("careful", careful=True)
    wait_until(lambda: any(not each.transient for each in held), "it says that it has started")
    settle(lambda: leader.type.executed == [], 0.2)
    worker._results.send = send  # type: ignore[method-assign]
    send(held)
    leader.result(message)
    kinds = [type(each) for each in leader.said if isinstance(each, StartedMessage | ResultMessage)]
    assert kinds == [StartedMessage, ResultMessage]


def test_permits_are_asked_of_the_leader_and_given_back(leader: Leader, connect: Connect) -> None:
    worker = leader.worker(connect(), open_transport=lambda _: _Idle())
    permits, far = worker._machines, _far()
    leased = threading.Thread(target=lambda: permits.pool.lease(far).__enter__(), daemon=True)
    leased.start()
    asked = leader.wait(AskMessage)
    assert (asked.worker, asked.login, asked.limit) == ("w", "u@far:22", 4)
    leader.order(worker, GrantMessage([asked.token, "of nobody"]))
    leased.join(10)
    assert not leased.is_alive()
    leader.beat(worker, lambda each: list(each.permits) == [asked.token])
    assert leader.wait(PermitsBackMessage).tokens == ["of nobody"]
    permits.pool._logins["u@far:22"].idle.append(_open_of(far, asked.token))
    leader.order(worker, CloseIdleMessage("u@far:22"))
    leader.wait(PermitsBackMessage, lambda each: asked.token in each.tokens)
    leader.beat(worker, lambda each: not each.permits)


def test_who_waits_for_a_permit_can_be_cancelled_and_wants_it_no_longer(leader: Leader, connect: Connect) -> None:
    worker = leader.worker(connect())

    def execution(context: Any) -> Done:
        with context.machines.pool.lease(_far(), context.check_cancelled):
            raise AssertionError("it was never granted")

    leader.type.scripts["far"] = execution
    message = leader.send("far")
    asked = leader.wait(AskMessage)
    leader.order(worker, StopMessage([message.key]))
    assert leader.result(message).outcome.what == "cancelled"
    assert asked.token in leader.wait(PermitsBackMessage).tokens


def test_what_a_worker_does_not_reach_is_declined(leader: Leader, connect: Connect) -> None:
    worker = leader.worker(connect(), reaches=("lab*",))
    outcome = leader.result(leader.send(to=worker)).outcome
    assert (outcome.what, outcome.reason) == ("declined", "this worker does not reach machine local")


def test_what_cannot_be_read_is_buried_and_the_worker_goes_on(leader: Leader, connect: Connect) -> None:
    worker = leader.worker(connect())
    for queue in (worker_queue("wlm", worker.id), control_queue("wlm", worker.id), type_queue("wlm", "a")):
        leader.channel.publish(queue, b"garbage", timeout_s=10)
    wait_until(lambda: leader.broker.probe(DEAD.format(prefix="wlm")).ready == 3, "all are buried")  # type: ignore[union-attr]
    leader.result(leader.send())


def test_a_result_that_is_too_large_fails_its_task_and_takes_no_other_along(
    leader: Leader, rabbit: Any, connect: Connect
) -> None:
    from wlmctl.broker.rabbitmq import RabbitBroker, RabbitSettings

    vhost = connect.vhost  # type: ignore[attr-defined]
    url = f"amqp://{vhost}:planted-{vhost}@{rabbit.host}:{rabbit.port}/{vhost}"
    broker = RabbitBroker(RabbitSettings(url, message_limit_bytes=20_000))
    try:
        leader.worker(broker, slots=4)
        leader.type.scripts["large"] = lambda _: Done(outputs={"x": "x" * 30_000})
        messages = [leader.send("large" if number % 5 == 0 else "small") for number in range(20)]
        outcomes = [leader.result(message).outcome for message in messages]
        assert [outcome.what for outcome in outcomes] == (["failed"] + ["done"] * 4) * 4
        assert "the limit is 20000" in outcomes[0].reason
        leader.close()
    finally:
        broker.close()


def test_results_that_the_broker_has_no_queue_for_wait_and_are_sent_again(leader: Leader, connect: Connect) -> None:
    worker = leader.worker(connect())
    send, refused = worker._results.send, list[Outgoing]()

    def refuse(messages: Iterable[Outgoing]) -> None:
        for message in messages:
            if not message.transient and not refused:
                refused.append(message)
                assert message.told is not None
                message.told(Unroutable("no queue"))
            else:
                send([message])

    worker._results.send = refuse  # type: ignore[method-assign]
    messages = [leader.send() for _ in range(3)]
    wait_until(lambda: refused, "a result was refused")
    for message in messages:
        leader.result(message)
    assert [key.dispatch for key in leader.results()] == [1, 2, 3]


class _Idle:
    """A connection that nobody uses."""

    alive = staticmethod(lambda: True)
    close = staticmethod(lambda: None)


def _far() -> Any:
    from wlmctl.machine import Machine

    return Machine("far", host="far")


def _open_of(machine: Any, token: str) -> Any:
    from wlmctl.connections import _Open

    return _Open(_Idle(), machine, token)  # type: ignore[arg-type]
