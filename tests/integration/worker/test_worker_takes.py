"""What a worker of a fleet takes, executes and answers; the test is its leader."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from tests.leading import Leader, settle, waits_for_end
from tests.waiting import wait_until
from wlmctl.broker.contract import Broker, Depth, Outgoing
from wlmctl.message import (
    MarkMessage,
    ResultMessage,
    ReturnedMessage,
    StartedMessage,
    TaskKey,
    bundle,
    encode,
)
from wlmctl.queues import DEAD, type_queue, worker_queue
from wlmctl.worker import intake
from wlmctl.worker.outbox import STARTED_S

Connect = Callable[[], Broker]


def cut(rabbit: Any, connect: Connect) -> None:
    """What a broken connection does to all of this vhost."""
    wait_until(lambda: rabbit.close_connections(connect.vhost), "the broker knows the connections")  # type: ignore[attr-defined]


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

    wait_until(all_have_ended, "all have ended", 150)
    assert sorted(key.idx for key in leader.results()) == list(range(5000))
    assert len(raised) < 500
    announced = {said.key for said in leader.said if isinstance(said, StartedMessage)}
    took_s = {said.key: said.took_s for said in leader.said if isinstance(said, ResultMessage)}
    # a thread that the machine let wait makes a step long, before its time is taken or just after
    assert sum(took_s[key] < STARTED_S for key in announced) < 50, "short steps are not announced"


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
    assert thief.receive(20) is not None
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
    # what comes again once it has ended, and is forgotten, goes back to a leader that knows its result
    answers = [each for each in leader.said if isinstance(each, (ResultMessage, ReturnedMessage))]
    assert isinstance(next(each for each in answers if each.key == first.key), ResultMessage)
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


def test_what_a_worker_does_not_reach_is_declined(leader: Leader, connect: Connect) -> None:
    worker = leader.worker(connect(), reaches=("lab*",))
    outcome = leader.result(leader.send(to=worker)).outcome
    assert (outcome.what, outcome.reason) == ("declined", "this worker does not reach machine local")


# what comes together


def test_a_delivery_of_several_tasks_is_acked_when_the_last_of_them_is_answered(
    leader: Leader, connect: Connect, go_on: threading.Event
) -> None:
    worker = leader.worker(connect(), slots=2)
    leader.type.scripts["long"] = waits_for_end(go_on)
    messages = [leader.message(task) for task in ("one", "long", "two")]
    leader.channel.publish(worker_queue("wlm", worker.id), bundle([encode(each) for each in messages]), timeout_s=20)
    leader.result(messages[0])
    leader.result(messages[2])
    leader.beat(worker, lambda each: list(each.started) == [messages[1].key] and not each.held)
    settle(lambda: worker._work._consuming._unacked, 0.3)  # type: ignore[attr-defined]
    go_on.set()
    leader.result(messages[1])
    wait_until(lambda: not worker._work._consuming._unacked, "the delivery is acked")  # type: ignore[attr-defined]


def test_of_a_delivery_that_comes_again_each_task_is_handed_back(
    leader: Leader, connect: Connect, go_on: threading.Event, rabbit: Any
) -> None:
    worker = leader.worker(connect(), slots=1)
    leader.type.scripts["long"] = waits_for_end(go_on)
    messages = [leader.message("long"), leader.message(), leader.message()]
    leader.channel.publish(worker_queue("wlm", worker.id), bundle([encode(each) for each in messages]), timeout_s=20)
    leader.beat(worker, lambda each: len(each.held) == 2 and len(each.started) == 1)
    cut(rabbit, connect)
    for message in messages[1:]:
        returned = leader.wait(ReturnedMessage, lambda said, key=message.key: said.key == key)  # type: ignore[misc]
        assert returned.reason == "redelivered"
    go_on.set()
    leader.result(messages[0])
    assert leader.results() == [messages[0].key], "what had begun is answered once"
    wait_until(lambda: not worker._work._consuming._unacked, "the delivery is acked")  # type: ignore[attr-defined]


def test_what_cannot_be_read_takes_nothing_along_that_came_with_it(leader: Leader, connect: Connect) -> None:
    worker = leader.worker(connect())
    messages = [leader.message(), leader.message()]
    body = bundle([encode(messages[0]), b'{"schema":99,"kind":"task"}', encode(messages[1])])
    leader.channel.publish(worker_queue("wlm", worker.id), body, timeout_s=20)
    for message in messages:
        assert leader.result(message).outcome.what == "done"
    leader.channel.consume(DEAD.format(prefix="wlm"), 10)
    dead = wait_until(lambda: leader.channel.receive(0.1), "the dead letters have it")
    assert dead is not None
    assert dead.reason == "schema 99, this wlmctl reads 1"
    assert leader.broker.probe(worker_queue("wlm", worker.id)) == Depth(0, 1)
