"""Results on their way: bundled, acked when confirmed, too large, without a queue."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from tests.leading import Leader, settle, waits_for_end
from tests.waiting import wait_until
from wlmctl.broker.contract import Broker, Outgoing, Unroutable
from wlmctl.message import (
    ClosedMessage,
    StartedMessage,
)
from wlmctl.queues import DEAD, control_queue, type_queue, worker_queue
from wlmctl.task import Done

Connect = Callable[[], Broker]


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
    short = [leader.send() for _ in range(20)]
    for message in short:
        leader.result(message)
    announced = {said.key for said in leader.said if isinstance(said, StartedMessage)}
    # a busy host makes some of them long
    assert not announced >= {message.key for message in short}, "short steps are not announced"
    leader.type.scripts["long"] = waits_for_end(go_on)
    long = leader.send("long")
    leader.wait(StartedMessage, lambda said: said.key == long.key)
    go_on.set()
    assert leader.result(long).took_s > 0.02


def test_what_cannot_be_read_is_buried_and_the_worker_goes_on(leader: Leader, connect: Connect) -> None:
    worker = leader.worker(connect())
    for queue in (worker_queue("wlm", worker.id), control_queue("wlm", worker.id), type_queue("wlm", "a")):
        leader.channel.publish(queue, b"garbage", timeout_s=60)
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
    assert sorted(key.dispatch for key in leader.results()) == [1, 2, 3]


def test_a_channel_that_the_broker_closes_with_406_is_told_to_the_leader(leader: Leader, connect: Connect) -> None:
    broker: Any = connect()
    worker: Any = leader.worker(broker)
    broker._link.call(lambda: worker._work._consuming._channel.basic_ack(99))
    assert "unknown delivery tag 99" in leader.wait(ClosedMessage).reason
    assert leader.result(leader.send("after")).outcome.what == "done"
