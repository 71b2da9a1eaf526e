"""What the broker loses is found and handed out again; what may still come is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.losing_database import LosingDatabase
from tests.orchestra import PREFIX
from tests.played_fleet import PlayedFleet
from wlmctl.broker.contract import Depth
from wlmctl.errors import StoreOutage
from wlmctl.message import (
    Outcome,
)
from wlmctl.queues import type_queue

ONE = "tasks: {a: {type: step}}"

Start = Callable[..., PlayedFleet]


def test_a_dispatch_that_the_broker_has_lost_is_handed_out_again(play: PlayedFleet) -> None:
    worker = play.worker("w")
    play.worker("v")
    seq = play.submit(ONE)
    play.step()
    [name] = play.who_has("a")
    next(each for each in play.workers if each.info.name == name).drop("a")
    play.step(12)
    assert len(play.who_has("a")) == 1
    assert play.dispatch(seq, "a") == 2
    assert worker.mark or play.workers[1].mark


def test_a_dispatch_that_waits_in_its_queue_is_not_lost(play: PlayedFleet) -> None:
    worker = play.worker("w", slots=1)
    worker.channel.consume(type_queue(PREFIX, "step"), 0)
    play.broker.channel().declare(type_queue(PREFIX, "step"))
    seq = play.submit(ONE)
    play.step(15)
    assert play.dispatch(seq, "a") == 1
    assert play.broker.depth(type_queue(PREFIX, "step")) == 1


def test_on_a_queue_that_is_never_empty_the_delivery_of_a_later_dispatch_shows_that_one_is_lost(
    play: PlayedFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = play.worker("w", slots=3)
    depth = play.broker.probe

    def never_empty(queue: str, timeout_s: float = 10.0) -> Depth | None:
        found = depth(queue, timeout_s)
        return found and replace(found, ready=max(found.ready, int(queue == type_queue(PREFIX, "step"))))

    monkeypatch.setattr(play.broker, "probe", never_empty)
    seq = play.submit(ONE)
    play.step()
    worker.drop("a")
    play.step(12)
    assert play.dispatch(seq, "a") == 1, "it may wait in the queue"
    play.submit("name: p\npriority: urgent\ntasks: {urgent: {type: step}}")
    play.step(12)
    assert play.dispatch(seq, "a") == 1, "the urgent one may have overtaken it"
    play.submit("tasks: {later: {type: step}}")
    play.step(12)
    assert play.dispatch(seq, "a") == 2


def test_a_dispatch_that_a_worker_lists_is_not_lost(play: PlayedFleet) -> None:
    play.worker("w")
    seq = play.submit(ONE)
    play.step(15)
    assert play.dispatch(seq, "a") == 1


def test_nothing_is_judged_lost_while_another_process_reads_the_results_too(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(ONE)
    play.step()
    other = play.broker.channel()
    other.consume("wlm.results", 1)
    worker.drop("a")
    play.step(10)
    assert play.dispatch(seq, "a") == 1
    other.close()
    play.step(12)
    assert play.dispatch(seq, "a") == 2


def test_a_worker_without_the_mark_holds_the_judgement_up(play: PlayedFleet) -> None:
    worker, deaf = play.worker("w"), play.worker("deaf")
    deaf.channel.consume(f"wlm.worker.{deaf.id}.marks", 0)
    seq = play.submit(ONE)
    play.step()
    (worker if worker.held else deaf).drop("a")
    play.step(8)
    assert play.dispatch(seq, "a") == 1
    deaf.goodbye()
    play.step(8)
    assert play.dispatch(seq, "a") == 2


def test_a_result_that_store_and_broker_lose_together_is_made_again(start: Start) -> None:
    play = start(database=LosingDatabase)
    worker = play.worker("w")
    seq = play.submit("tasks: {j: {type: play}, s: {type: step}}")
    play.step(1)
    worker.end("j", Outcome("deferred", handle={"job": 1}))
    worker.end("s")
    play.db.lose = 1  # type: ignore[attr-defined]
    with pytest.raises(StoreOutage) as lost:
        play.orchestrator.step()
    play.orchestrator._start_over(lost.value)
    play.lose_everything()
    play.step(10)
    assert worker.names() == ["j", "s"], "nobody else knows that they have ended"
    worker.end("j")
    worker.end("s")
    assert set(play.step(1).states(seq).values()) == {"succeeded"}


def test_a_broker_that_loses_everything_loses_no_task(play: PlayedFleet) -> None:
    worker = play.worker("w", slots=2)
    seq = play.submit("tasks: {a: {type: step, foreach: {n: 1..6}}}")
    play.step()
    worker.begin("a[1]")
    play.lose_everything()
    play.step(12)
    for _ in range(10):
        for name in worker.names():
            worker.end(name)
        play.step(5)
    assert set(play.states(seq).values()) == {"succeeded"}


def test_a_dispatch_to_a_queue_that_is_gone_makes_its_task_ready_again(play: PlayedFleet) -> None:
    worker = play.worker("w")
    play.step()
    worker.channel.consume(type_queue(PREFIX, "step"), 0)
    play.broker._kept.discard(type_queue(PREFIX, "step"))
    play.broker.delete(type_queue(PREFIX, "step"))
    seq = play.submit(ONE)
    play.step()
    assert play.states(seq) == {"a": "ready"}
    worker.channel.consume(type_queue(PREFIX, "step"), 9)
    play.step(1)
    assert worker.names() == ["a"]
