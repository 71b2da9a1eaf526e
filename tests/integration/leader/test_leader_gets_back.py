"""What workers hand back, and what follows when they die."""

from __future__ import annotations

import pytest

from tests.orchestra import PREFIX, assert_told_in_full
from tests.play import DONE, FAILED, away
from tests.played_fleet import PlayedFleet, PlayedWorker
from wlmctl import control
from wlmctl.message import Answer, EndMessage, Outcome, PollAnswerMessage, PollMessage
from wlmctl.queues import worker_queue
from wlmctl.store import workers

ONE = "tasks: {a: {type: step}}"


# what workers hand back


def test_a_busy_worker_hands_back_and_the_task_goes_to_one_workers_queue(play: PlayedFleet) -> None:
    play.worker("v"), play.worker("w")
    seq = play.submit(ONE)
    play.step()
    [first] = play.who_has("a")
    next(worker for worker in play.workers if worker.info.name == first).hand_back("a", "busy")
    play.step()
    assert len(play.who_has("a")) == 1
    assert play.dispatch(seq, "a") == 2
    [work] = play.orchestrator.works.values()
    assert work.active[0].queue.startswith("wlm.worker.")


def test_a_redelivered_dispatch_that_nobody_lists_is_handed_out_again_with_care(play: PlayedFleet) -> None:
    first, second = play.worker("v"), play.worker("w")
    seq = play.submit(ONE)
    play.step()
    holder, other = (first, second) if first.held else (second, first)
    holder.die()
    other.take()
    play.step()
    assert other.names() == ["a"]
    assert other.task("a").careful
    assert play.dispatch(seq, "a") == 2


def test_a_redelivered_dispatch_is_kept_while_its_worker_still_lists_it(play: PlayedFleet) -> None:
    first, second = play.worker("v"), play.worker("w")
    seq = play.submit(ONE)
    play.step()
    holder = first if first.held else second
    holder.begin("a")
    play.step(1)
    play.broker.restart()
    play.step(3)
    assert play.dispatch(seq, "a") == 1, "its worker executes it still"
    holder.end("a")
    assert play.step().states(seq) == {"a": "succeeded"}


def test_a_redelivered_dispatch_is_handed_out_again_when_its_worker_lists_it_no_more(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(ONE)
    play.step(1)
    play.broker.restart()  # it forgets what has not begun
    play.step(3)
    assert play.dispatch(seq, "a") == 2
    assert worker.names() == ["a"]


# workers that die


def test_the_tasks_of_a_killed_worker_are_handed_out_at_once_when_they_come_back(play: PlayedFleet) -> None:
    first, second = play.worker("v"), play.worker("w")
    seq = play.submit(ONE)
    play.step(1)
    holder, other = (first, second) if first.held else (second, first)
    holder.begin("a")
    play.step()
    holder.die()
    play.step()
    assert other.names() == ["a"]
    assert play.dispatch(seq, "a") == 2, "raised once"
    assert play.worker_states()[holder.info.name] == "dead"


def test_what_a_killed_worker_had_in_its_own_queue_is_handed_out_within_three_seconds(play: PlayedFleet) -> None:
    first = play.worker("v", slots=1, machines=("m", "local"))
    play.worker("x", types=("play", "step"), machines=("far",))
    seq = play.submit("tasks: {a: {type: step, machine: m}}")
    play.step(1)
    assert first.names() == ["a"]
    second = play.worker("w", machines=("m", "local"))
    play.step(1)
    first.die()
    play.step(3.5)
    assert second.names() == ["a"]
    assert play.dispatch(seq, "a") == 2


def test_a_silent_worker_whose_connection_stands_is_dead_after_ten_seconds(play: PlayedFleet) -> None:
    first = play.worker("v")
    seq = play.submit(ONE)
    play.step(1)
    first.is_silent = True
    second = play.worker("w")
    play.step(8)
    assert play.worker_states() == {"v": "alive", "w": "alive"}
    play.step(6)
    assert play.worker_states() == {"v": "dead", "w": "alive"}
    assert play.dispatch(seq, "a") == 2
    first.die()  # now the broker has noticed, too
    play.step(1)
    assert second.names() == ["a"]


def test_the_queues_of_a_dead_worker_are_deleted(play: PlayedFleet) -> None:
    worker = play.worker("w")
    play.step(1)
    worker.die()
    play.step(5)
    assert play.broker.probe(worker_queue(PREFIX, worker.id)) is None


def test_a_new_leader_deletes_the_queues_that_the_one_before_had_not_come_to(play: PlayedFleet) -> None:
    worker = play.worker("w")
    play.step(1)
    worker.die()
    with play.others.transaction():
        workers.end(play.others, worker.id, workers.DEAD, play.clock.time(), "played")
    play.lead()
    play.step()
    assert play.broker.probe(worker_queue(PREFIX, worker.id)) is None


def test_silence_does_not_count_while_the_leader_hears_nobody(play: PlayedFleet) -> None:
    play.worker("w")
    play.step(1)
    play.clock.now_s += 60  # the leader was stopped
    play.orchestrator.step()
    play.step(0.5)
    play.step(3)
    assert play.worker_states() == {"w": "alive"}


def test_a_worker_that_says_goodbye_is_gone_and_no_kill_is_counted(play: PlayedFleet) -> None:
    first = play.worker("v")
    seq = play.submit(ONE)
    play.step()
    first.begin("a")
    first.goodbye()
    second = play.worker("w")
    play.step()
    assert play.worker_states()["v"] == "gone"
    assert second.names() == ["a"]
    assert play.rows(seq)["a"].kills == 0


def test_a_poll_that_a_dead_worker_was_asked_is_asked_of_another_at_once(play: PlayedFleet) -> None:
    first = play.worker("v")
    play.submit("tasks: {j: {type: play}}")
    play.step()
    first.end("j", Outcome("deferred", handle={"job": 1}))
    play.step()
    assert any(isinstance(order, PollMessage) for order in first.orders)
    second = play.worker("w")
    play.step()
    first.die()
    play.step(4)
    assert any(isinstance(order, PollMessage) for order in second.orders)


@pytest.mark.parametrize("answer", [away("m"), Outcome("declined", reason="no such plugin"), None])
def test_what_a_dead_worker_may_have_begun_is_cancelled_only_once_that_is_proven_not_to_run(
    play: PlayedFleet, answer: Outcome | None
) -> None:
    first = play.worker("v")
    seq = play.submit("tasks: {j: {type: play, machine: m}}")
    play.step()
    play.step(1)
    first.die()
    second = play.worker("w")
    play.step(4)
    if answer is None:
        second.hand_back("j", "draining")
        second.goodbye()
    else:
        second.end("j", answer)
    assert play.step().states(seq) == {"j": "assigned"}, "it has not become ready again, as if nothing could run"
    control.cancel(play.others, seq, now_s=play.clock.time(), by="eve")
    assert play.step(1).states(seq) == {"j": "cancelling"}


def taken_over(
    play: PlayedFleet, text: str = "tasks: {j: {type: play, machine: m, retry: {limit: 3, delay: 0}}}"
) -> tuple[int, PlayedWorker]:
    """A job whose first worker died and may have begun it, and the worker that has it now."""
    first = play.worker("v")
    seq = play.submit(text)
    play.step(1)
    first.die()
    second = play.worker("w")
    play.step(4)
    assert not second.task("j").cancel
    return seq, second


@pytest.mark.parametrize("by_itself", [False, True])
def test_a_failure_counts_only_once_what_a_dead_worker_may_have_begun_is_proven_not_to_run(
    play: PlayedFleet, by_itself: bool
) -> None:
    seq, second = taken_over(play)
    second.end("j", FAILED)
    assert play.step().states(seq) == {"j": "assigned"}, "the next attempt would run beside the job of this one"
    message = second.task("j")
    assert (message.cancel, message.key.attempt, message.key.dispatch) == (True, 1, 3)
    second.end("j", DONE if by_itself else Outcome("cancelled", reason="nothing of it runs"))
    play.step()
    if by_itself:
        assert play.states(seq) == {"j": "succeeded"}
    else:
        message = second.task("j")
        assert (message.cancel, message.key.attempt) == (False, 2)
        assert [row.user_failures for row in play.rows(seq).values()] == [1]
    assert_told_in_full(play.others, [seq])


def test_what_has_failed_and_may_run_is_ended_as_a_deferred_task_where_its_end_takes_time(play: PlayedFleet) -> None:
    seq, second = taken_over(play, "tasks: {j: {type: play, machine: m}}")
    second.end("j", FAILED)
    play.step()
    second.end("j", Outcome("unknown", reason="its queue does not answer"))
    play.step()
    assert second.names() == [], "it is not asked again at once"
    play.step(3)
    second.end("j", Outcome("deferred", handle={"job": 1}))
    play.step(3)
    assert play.states(seq) == {"j": "deferred"}
    [order, *_] = [order for order in second.orders if isinstance(order, EndMessage)]
    [deferral] = order.deferrals
    gone = Answer(deferral.key, Outcome("cancelled"), deferral.nonce)
    second.say(PollAnswerMessage(second.id, "m", 0, [gone], ending=True))
    assert play.step().states(seq) == {"j": "failed"}
    assert play.rows(seq)["j"].reason == FAILED.reason
    assert_told_in_full(play.others, [seq])


def test_a_cancel_meanwhile_wins_over_a_failure_that_was_to_be_proven(play: PlayedFleet) -> None:
    seq, second = taken_over(play)
    second.end("j", FAILED)
    play.step()
    control.cancel(play.others, seq, now_s=play.clock.time(), by="eve")
    play.step(1)
    second.end("j", Outcome("cancelled", reason="nothing of it runs"))
    assert play.step().states(seq) == {"j": "cancelled"}
