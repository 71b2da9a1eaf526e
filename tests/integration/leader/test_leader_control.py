"""Orders to workers, and messages that nobody should believe."""

from __future__ import annotations

from tests.play import DONE, RUNNING, STOPPED
from tests.played_fleet import PlayedFleet
from wlmctl import control
from wlmctl.message import (
    ClosedMessage,
    DrainMessage,
    EndMessage,
    Outcome,
    ResultMessage,
    StopMessage,
)
from wlmctl.store import closures, workers

ONE = "tasks: {a: {type: step}}"


# control


def test_what_a_worker_says_of_a_closed_channel_is_kept_with_how_often(play: PlayedFleet) -> None:
    worker = play.worker("w")
    for _ in range(2):
        worker.say(ClosedMessage(worker.id, "timed out"))
    play.step()
    [closure] = closures.seen(play.others)
    assert (closure.process, closure.reason, closure.times) == ("worker w on here", "timed out", 2)


def test_a_stop_goes_to_the_worker_that_has_the_dispatch(play: PlayedFleet) -> None:
    first, second = play.worker("v"), play.worker("w")
    seq = play.submit(ONE)
    play.step(1)
    control.cancel(play.others, seq, now_s=play.clock.time(), by="eve")
    play.step()
    holder, other = (first, second) if first.held else (second, first)
    assert [type(order) for order in holder.orders if isinstance(order, StopMessage)] == [StopMessage]
    assert not any(isinstance(order, StopMessage) for order in other.orders)


def test_a_stop_goes_to_all_while_nobody_is_known_to_have_the_dispatch(play: PlayedFleet) -> None:
    first, second = play.worker("v"), play.worker("w")
    seq = play.submit(ONE)
    play.step()
    control.cancel(play.others, seq, now_s=play.clock.time(), by="eve")
    play.step()
    assert all(any(isinstance(order, StopMessage) for order in worker.orders) for worker in (first, second))


def test_a_job_whose_execution_was_stopped_is_ended_since_another_execution_may_have_started_it(
    play: PlayedFleet,
) -> None:
    worker = play.worker("w")
    seq = play.submit("tasks: {j: {type: play}}")
    play.step()
    control.cancel(play.others, seq, now_s=play.clock.time(), by="eve")
    play.step()
    worker.end("j", STOPPED)
    assert play.step().states(seq) == {"j": "cancelling"}
    assert worker.task("j").cancel
    worker.end("j", STOPPED)
    assert play.step().states(seq) == {"j": "cancelled"}


def test_the_ends_of_many_deferred_tasks_travel_together(play: PlayedFleet) -> None:
    worker = play.worker("w", slots=8)
    seq = play.submit("tasks: {j: {type: play, resources: {cpus: 1}, machine: m, foreach: {n: 1..4}}}")
    play.step()
    for name in worker.names():
        worker.end(name, Outcome("deferred", handle={"job": 1}))
    play.step()
    control.cancel(play.others, seq, now_s=play.clock.time(), by="eve")
    play.step()
    [end] = [order for order in worker.orders if isinstance(order, EndMessage)]
    assert len(end.deferrals) == 4


def test_a_worker_that_is_to_drain_is_told_once(play: PlayedFleet) -> None:
    worker = play.worker("w")
    play.step()
    with play.others.transaction():
        assert workers.drain(play.others, worker.id)
    play.step(2)
    assert [type(order) for order in worker.orders if isinstance(order, DrainMessage)] == [DrainMessage]


def test_a_draining_worker_gets_nothing_new_and_hands_back_what_has_not_begun(play: PlayedFleet) -> None:
    first = play.worker("v")
    seq = play.submit(ONE)
    play.step()
    first.drain()
    first.hand_back("a", "draining")
    play.step()
    assert play.states(seq) == {"a": "ready"}
    second = play.worker("w")
    play.step()
    assert (first.names(), second.names()) == ([], ["a"])
    assert play.worker_states()["v"] == "draining"


# messages that nobody should believe


def test_a_result_with_a_forged_nonce_is_refused_and_recorded(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(ONE)
    play.step()
    message = worker.task("a")
    worker.say(ResultMessage("u.evil", message.key, "guessed", "e", DONE))
    assert play.step().states(seq) == {"a": "assigned"}
    assert play.told(seq, "late") == ["a result of attempt 1, dispatch 1 was refused: its nonce is wrong"]


def test_one_broken_message_of_a_bundle_takes_the_others_not_along(play: PlayedFleet) -> None:
    from wlmctl.message import bundle, encode

    worker = play.worker("w")
    seq = play.submit(ONE)
    play.step()
    message = worker.task("a")
    good = encode(ResultMessage(worker.id, message.key, message.nonce, "e", DONE))
    worker._out.publish("wlm.results", bundle([b'{"schema":1,"kind":"result"}', good]))
    assert play.step().states(seq) == {"a": "succeeded"}
    assert play.broker.depth("wlm.dead") == 1
    assert RUNNING.what == "running"


def test_a_worker_that_says_nothing_is_not_shown_as_seen_just_now(play: PlayedFleet) -> None:
    play.worker("talks")
    stopped = play.worker("stopped")
    play.step(12)
    stopped.is_silent = True
    play.step(9)
    seen = {row.name: row.seen for row in workers.rows(play.others)}
    assert play.worker_states() == {"talks": "alive", "stopped": "alive"}
    assert seen["stopped"] < seen["talks"]
