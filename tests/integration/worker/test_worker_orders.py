"""Orders, drains, permits: what a worker is told, and what it asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.leading import Leader, settle, waits_for_end
from tests.waiting import wait_until
from wlmctl.broker.contract import Broker, Outgoing
from wlmctl.message import (
    AskMessage,
    CloseIdleMessage,
    DrainMessage,
    GoodbyeMessage,
    GrantMessage,
    PermitsBackMessage,
    ResultMessage,
    ReturnedMessage,
    StartedMessage,
    StopMessage,
    encode,
)
from wlmctl.queues import control_queue, marks_queue, type_queue, worker_queue
from wlmctl.task import Done

Connect = Callable[[], Broker]


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
    others = leader.send("for others", "b")
    settle(lambda: not worker.finished(), 0.3)
    go_on.set()
    assert leader.result(first).outcome.what == leader.result(second).outcome.what == "done"
    assert leader.wait(GoodbyeMessage).worker == "w"
    wait_until(worker.finished, "it is done")
    for queue in (worker_queue, control_queue, marks_queue):
        assert leader.broker.probe(queue("wlm", "w")) is None
    worker.close(60)

    def places() -> int:
        """It may come before the broker knows that the worker wants no more, and is handed back then."""
        came = [said for said in leader.said if isinstance(said, ReturnedMessage) and said.key == others.key]
        return len(came) + leader.broker.probe(type_queue("wlm", "b")).ready  # type: ignore[union-attr]

    wait_until(lambda: places() == 1, "it waits for others, or was handed back")
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
    worker.close(60)
    assert time.monotonic() - begun_s < 30
    outcome = leader.result(message).outcome
    assert (outcome.what, outcome.reason) == ("cancelled", "broken off, left to others")
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


def test_a_dispatch_that_is_to_be_alone_waits_no_longer_than_the_broker_lets(
    leader: Leader, connect: Connect, go_on: threading.Event
) -> None:
    worker = leader.worker(connect(), slots=2, ack_timeout_s=4.0)
    leader.type.scripts["long"] = waits_for_end(go_on)
    leader.send("long", to=worker)
    leader.wait(StartedMessage)
    alone = leader.send("alone", to=worker, alone=True)
    returned = leader.wait(ReturnedMessage)
    assert (returned.key, returned.reason) == (alone.key, "busy")
    leader.beat(worker, lambda each: not each.held)
    leader.result(leader.send("after", to=worker))
    assert leader.type.executed == ["long", "after"]


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

    def is_answered() -> bool:
        leader.listen()
        return other.key in [said.key for said in leader.said if isinstance(said, ReturnedMessage | ResultMessage)]

    wait_until(is_answered, "the other one is done, or was handed back")
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
    leased.join(60)
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


def test_a_transfer_asks_for_a_slot_and_a_share_with_its_priority_and_says_how_far_it_is(
    leader: Leader, connect: Connect
) -> None:
    worker = leader.worker(connect())
    far = replace(_far(), bandwidth_bytes_s=1_000_000)
    paces: list[float] = []

    def execution(context: Any) -> Done:
        context.message.roles["far"], context.message.machines["far"] = "far", far
        with context.transfer(["far"], 1 << 30, 1) as pace:
            paces.extend(limit._rate() for limit in pace._limits)
            context.progress(what="copying", bytes_done=5, bytes_total=10)
            while not context.stopped.is_set():
                paces.append(pace._limits[0]._rate())
                context.stopped.wait(0.02)
        return Done()

    leader.type.scripts["far"] = execution
    message = leader.send("far", priority=6)
    slot = leader.wait(AskMessage)
    assert (slot.login, slot.limit, slot.priority) == ("transfer u@far:22", 3, 6)
    leader.beat(worker, lambda each: [step.what for step in each.progress] == [
        "waits for other transfers with the same machine"
    ])  # fmt: skip
    leader.order(worker, GrantMessage([slot.token]))
    share = leader.wait(AskMessage, lambda each: each.login.startswith("bandwidth "))
    assert (share.login, share.priority) == ("bandwidth u@far:22", 6)
    leader.order(worker, GrantMessage([share.token]))
    leader.beat(worker, lambda each: [(step.key, step.bytes_done) for step in each.progress] == [(message.key, 5)])
    leader.order(worker, GrantMessage([], {"bandwidth u@far:22": 4}))
    wait_until(lambda: paces[-1] == 250_000, "its share is a quarter")
    assert paces[0] == 1_000_000
    leader.order(worker, StopMessage([message.key]))
    leader.wait(PermitsBackMessage, lambda each: slot.token in each.tokens)
    leader.wait(PermitsBackMessage, lambda each: share.token in each.tokens)


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
