"""What workers answer, late, twice, out of order or never, and what the orchestrator makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.orchestra import WORKER, Orchestra, assert_told_in_full
from tests.play import BROKEN, DEFERRED, DONE, FAILED, NOW_S, RUNNING, STOPPED, Clock, play_types
from wlmctl import control
from wlmctl.message import (
    Answer,
    EndMessage,
    Outcome,
    PollAnswerMessage,
    PollMessage,
    ResultMessage,
    StartedMessage,
    StopMessage,
    TaskKey,
)
from wlmctl.queues import DEAD
from wlmctl.retry import retry

ONE = "tasks: {a: {type: step}}"
JOB = "tasks: {j: {type: play}}"


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Orchestra]:
    clock = Clock()
    play_types(monkeypatch, clock)
    orchestra = Orchestra(tmp_path, clock=clock)
    yield orchestra
    orchestra.close()


def cancel(play: Orchestra, seq: int) -> None:
    control.cancel(play.others, seq, now_s=NOW_S, by="eve")
    play.step()


def test_a_task_is_handed_out_run_and_done(play: Orchestra) -> None:
    seq = play.submit(ONE)
    assert play.step().states(seq) == {"a": "assigned"}
    play.begin("a")
    assert play.step().states(seq) == {"a": "running"}
    play.end("a", Outcome("done", outputs={"x": "1"}, folder="/f"))
    row = play.step().rows(seq)["a"]
    assert (row.state, row.attempt, row.outputs, row.folder) == ("succeeded", 1, '{"x": "1"}', "/f")
    assert play.row(seq).state == "succeeded"
    assert_told_in_full(play.others, [seq])


def test_a_result_that_comes_twice_counts_once_and_the_second_is_noted(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step}, b: {type: step, needs: [a]}}")
    first = play.step().end("a", keep=True)
    play.end(first, FAILED)
    assert play.step().states(seq) == {"a": "succeeded", "b": "assigned"}
    assert play.told(seq, "late") == ["a result of attempt 1, dispatch 1 came too late and was ignored"]


def test_a_second_result_after_the_end_of_the_experiment_is_noted_too(play: Orchestra) -> None:
    seq = play.submit(ONE)
    first = play.step().end("a", keep=True)
    play.step().end(first, FAILED)
    assert play.step().row(seq).state == "succeeded"
    assert len(play.told(seq, "late")) == 1


def test_an_answer_about_a_deferred_task_without_the_nonce_of_its_dispatch_is_refused(play: Orchestra) -> None:
    seq = play.submit("tasks: {j: {type: play}}")
    play.step().defer("j")
    [poll] = play.step().polls()
    [deferral] = poll.deferrals
    for nonce in ("", "0" * len(deferral.nonce)):
        for number, what in ((poll.number, "done"), (0, "done"), (0, "failed"), (poll.number, "unreachable")):
            answer = Answer(deferral.key, Outcome(what, machine="local"), nonce)
            play.say(PollAnswerMessage(WORKER, "local", number, [answer]))
    assert play.step().states(seq) == {"j": "deferred"}
    assert set(play.told(seq, "late")) == {"an answer about attempt 1 was refused: its nonce is wrong"}
    play.answer(poll, DONE)
    assert play.step().states(seq) == {"j": "succeeded"}
    assert_told_in_full(play.others, [seq])


def test_a_result_without_the_nonce_of_its_dispatch_is_refused(play: Orchestra) -> None:
    seq = play.submit(ONE)
    message = play.step().task("a")
    play.say(ResultMessage("w", message.key, "guessed", "e", DONE))
    assert play.step().states(seq) == {"a": "assigned"}
    assert len(play.told(seq, "late")) == 1
    play.end("a")
    assert play.step().states(seq) == {"a": "succeeded"}


def test_a_result_of_an_older_dispatch_is_ignored_and_the_newer_one_counts(play: Orchestra) -> None:
    seq = play.submit(ONE)
    old = play.step().task("a")
    play.lead()
    new = play.step().task("a")
    assert (new.key.attempt, new.key.dispatch) == (1, 2)
    assert new.token == old.token
    play.end(old, FAILED, keep=True)
    assert play.step().states(seq) == {"a": "assigned"}
    play.end("a")
    assert play.step().states(seq) == {"a": "succeeded"}


def test_results_of_tasks_and_experiments_that_nobody_knows_change_nothing(play: Orchestra) -> None:
    seq = play.submit(ONE)
    play.step()
    for key in (TaskKey(seq, 77, 1, 1), TaskKey(99, 0, 1, 1), TaskKey(seq, 0, 9, 1)):
        play.say(ResultMessage("w", key, "n", "e", DONE))
        play.say(StartedMessage("w", key, "n"))
    assert play.step().states(seq) == {"a": "assigned"}
    assert_told_in_full(play.others, [seq])


def test_what_is_no_message_goes_to_the_dead_letters_and_changes_nothing(play: Orchestra) -> None:
    seq = play.submit(ONE)
    play.step()
    for body in (b"", b"\xff\x00", b"{}", b'{"schema": 99, "kind": "result"}', b'{"schema": 1, "kind": "result"}'):
        play.say(body)
    play.end("a")
    assert play.step().states(seq) == {"a": "succeeded"}
    assert play.broker.depth(DEAD.format(prefix="wlm")) == 5


def test_the_message_that_a_task_has_begun_may_come_after_its_end(play: Orchestra) -> None:
    seq = play.submit(ONE)
    message = play.step().end("a")
    play.step().say(StartedMessage("w", message.key, message.nonce))
    assert play.step().states(seq) == {"a": "succeeded"}


def test_a_deferred_task_is_polled_and_its_end_counts_whatever_the_number_of_the_poll(play: Orchestra) -> None:
    seq = play.submit(JOB)
    play.step().defer("j")
    [first] = play.step().polls()
    assert play.states(seq) == {"j": "deferred"}
    play.answer(first, RUNNING)
    [second] = play.step(10).step(200).polls()[-1:]
    assert second.number > first.number
    play.answer(first, DONE)
    assert play.step().states(seq) == {"j": "succeeded"}


def test_an_unanswered_poll_is_sent_again_under_the_next_number(play: Orchestra) -> None:
    play.submit(JOB)
    play.step().defer("j")
    [first] = play.step().polls()
    assert play.step(100).polls() == []
    [second] = play.step(30).polls()
    assert second.number == first.number + 1


def test_a_poll_answered_unknown_is_asked_again_and_spends_nothing(play: Orchestra) -> None:
    seq = play.submit(JOB)
    play.step().defer("j")
    for _ in range(3):
        [poll] = play.step(10).polls()
        play.answer(poll, Outcome("unknown", reason="the listing was cut off"))
    row = play.step().rows(seq)["j"]
    assert (row.state, row.attempt, row.infra_failures) == ("deferred", 1, 0)


def test_one_poll_asks_for_all_deferred_tasks_of_a_machine(play: Orchestra) -> None:
    seq = play.submit("tasks: {j: {type: play, foreach: {n: 1..4}}}")
    play.step()
    for name in play.names():
        play.defer(name)
    [poll] = play.step().polls()
    assert len(poll.deferrals) == 4
    play.answer(poll, lambda key: DONE if key.idx % 2 else RUNNING)
    assert sorted(play.step().states(seq).values()) == ["deferred", "deferred", "succeeded", "succeeded"]


def test_a_dispatch_that_a_worker_declines_is_handed_out_again_under_the_same_attempt(play: Orchestra) -> None:
    seq = play.submit(ONE)
    play.step().end("a", Outcome("declined", reason="no room"))
    message = play.step().task("a")
    assert (message.key.attempt, message.key.dispatch) == (1, 2)
    assert play.rows(seq)["a"].state == "assigned"


def test_infrastructure_failures_are_tried_again_five_times_with_growing_delays(play: Orchestra) -> None:
    seq = play.submit(ONE)
    play.step()
    for delay_s in (10, 20, 40, 80, 160):
        play.end("a", BROKEN)
        assert play.step().states(seq) == {"a": "waiting"}
        assert play.step(delay_s - 1).states(seq) == {"a": "waiting"}
        assert play.step(1.5).states(seq) == {"a": "assigned"}
    play.end("a", BROKEN)
    row = play.step().rows(seq)["a"]
    assert (row.state, row.attempt, row.failure_class, row.infra_failures) == ("failed", 6, "infra", 6)
    assert_told_in_full(play.others, [seq])


def test_infrastructure_failures_do_not_count_against_the_limit_of_retries(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step, retry: {limit: 1, delay: 0}}}")
    play.step().end("a", BROKEN)
    play.step(11).end("a", FAILED)
    play.step(0.1).end("a", BROKEN)
    play.step(30).end("a", FAILED)
    row = play.step().rows(seq)["a"]
    assert (row.state, row.user_failures, row.infra_failures, row.attempt) == ("failed", 2, 2, 4)


def test_a_failure_of_a_class_that_is_not_retried_is_final(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step, retry: {limit: 9, delay: 0, on: [memory]}}}")
    play.step().end("a", replace(FAILED, failure_class="memory"))
    play.step(0.1).end("a", FAILED)
    assert play.step().states(seq) == {"a": "failed"}


def test_each_attempt_has_a_token_of_its_own_and_each_dispatch_has_a_nonce(play: Orchestra) -> None:
    play.submit("tasks: {a: {type: step, retry: {limit: 1, delay: 0}}}")
    first = play.step().end("a", FAILED)
    second = play.step(0.1).task("a")
    play.lead()
    third = play.step().task("a")
    assert len({first.token, second.token}) == 2
    assert second.token == third.token
    assert len({first.nonce, second.nonce, third.nonce}) == 3


def test_a_cancel_stops_a_step_and_is_proven_by_the_worker(play: Orchestra) -> None:
    seq = play.submit(ONE)
    message = play.step().begin("a")
    play.step()
    cancel(play, seq)
    assert StopMessage([message.key]) in play.orders
    assert play.row(seq).state == "cancelling"
    play.end("a", STOPPED)
    assert play.step().states(seq) == {"a": "cancelled"}
    assert play.row(seq).state == "cancelled"
    assert_told_in_full(play.others, [seq])


def test_a_step_that_was_done_before_its_cancel_arrived_has_succeeded(play: Orchestra) -> None:
    seq = play.submit(ONE)
    play.step()
    cancel(play, seq)
    play.end("a")
    assert play.step().states(seq) == {"a": "succeeded"}
    assert play.row(seq).state == "cancelled"


def test_a_cancel_that_is_not_proven_is_ordered_again(play: Orchestra) -> None:
    seq = play.submit(JOB)
    play.step().defer("j")
    play.step()
    cancel(play, seq)
    [order] = play.ends()
    play.answer(order, Outcome("unknown", reason="a process cannot be looked at"))
    assert play.step(1).ends() == []
    [order] = play.step(1.5).ends()
    play.answer(order, STOPPED)
    assert play.step().states(seq) == {"j": "cancelled"}


def test_a_poll_that_was_under_way_does_not_prove_a_cancel(play: Orchestra) -> None:
    seq = play.submit(JOB)
    play.step().defer("j")
    [poll] = play.step().polls()
    cancel(play, seq)
    play.answer(poll, Outcome("cancelled", reason="the job is gone"))
    assert play.step().states(seq) == {"j": "cancelling"}
    [order] = play.ends()
    play.answer(order, replace(DONE, exit_code=0))
    assert play.step().states(seq) == {"j": "succeeded"}


def test_after_a_crash_a_cancel_is_not_taken_for_proven_by_a_worker_that_cannot_tell(play: Orchestra) -> None:
    seq = play.submit(JOB)
    play.step()
    control.cancel(play.others, seq, now_s=NOW_S, by="eve")
    play.lead()
    message = play.step().task("j")
    assert message.cancel, "it is not known whether the job has started: it must be ended, not started"
    play.end("j", Outcome("unknown", reason="cannot tell"))
    assert play.step().states(seq) == {"j": "cancelling"}
    assert play.names() == [], "not asked again at once"
    play.step(2.5).end("j", Outcome("deferred", handle={"job": 1}))
    [order] = play.step(2.5).ends()
    play.answer(order, STOPPED)
    assert play.step().states(seq) == {"j": "cancelled"}


def test_a_job_ended_from_outside_is_an_infrastructure_failure(play: Orchestra) -> None:
    seq = play.submit(JOB)
    play.step().defer("j")
    [poll] = play.step().polls()
    play.answer(poll, Outcome("cancelled", reason="killed by hand"))
    row = play.step().rows(seq)["j"]
    assert (row.state, row.failure_class, row.reason) == ("waiting", "infra", "killed by hand")


def test_a_timeout_is_proven_and_then_fails_with_its_class(play: Orchestra) -> None:
    seq = play.submit("tasks: {j: {type: play, timeout: 60}}")
    play.step().defer("j")
    assert play.step(59).ends() == []
    [order] = play.step(2).ends()
    assert play.states(seq) == {"j": "deferred"}
    play.answer(order, STOPPED)
    row = play.step().rows(seq)["j"]
    assert (row.state, row.failure_class, row.reason) == ("failed", "time", "timeout: it ran for longer than 60 s")


def test_a_job_that_ended_by_itself_just_before_its_timeout_has_succeeded(play: Orchestra) -> None:
    seq = play.submit("tasks: {j: {type: play, timeout: 60}}")
    play.step().defer("j")
    [order] = play.step(61).ends()
    play.answer(order, DONE)
    assert play.step().states(seq) == {"j": "succeeded"}


def test_the_time_in_a_batch_queue_does_not_count_for_the_timeout(play: Orchestra) -> None:
    seq = play.submit("tasks: {j: {type: play, timeout: 60}}")
    play.step().end("j", replace(DEFERRED, started=False))
    play.step(100)
    play.answer(play.polls()[-1], replace(RUNNING, started=True))
    assert play.step(50).ends() == []
    [_] = play.step(11).ends()
    assert play.states(seq) == {"j": "deferred"}


def test_a_cancel_wins_over_a_timeout_that_comes_while_it_is_proven(play: Orchestra) -> None:
    seq = play.submit("tasks: {j: {type: play, timeout: 60}}")
    play.step().defer("j")
    play.step()
    cancel(play, seq)
    play.step(61)
    play.answer(play.ends()[-1], STOPPED)
    assert play.step().states(seq) == {"j": "cancelled"}


def test_a_step_that_is_begun_anew_after_a_crash_has_its_whole_timeout_again(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step, timeout: 60}}")
    play.step().begin("a")
    play.step()
    play.lead()
    play.clock.now_s += 3600
    message = play.step().begin("a")
    assert play.step(50).orders == []
    assert play.rows(seq)["a"].started == pytest.approx(NOW_S + play.clock.now_s - 50)
    play.step(11)
    assert StopMessage([message.key]) in play.orders
    assert_told_in_full(play.others, [seq])


def test_after_a_crash_deferred_work_is_asked_for_and_never_handed_out_again(play: Orchestra) -> None:
    seq = play.submit(JOB)
    play.step().defer("j")
    play.step()
    play.lead()
    [poll] = play.step().polls()
    assert play.names() == []
    play.answer(poll, DONE)
    assert play.step().states(seq) == {"j": "succeeded"}


def test_orders_to_workers_name_the_dispatch_that_is_current(play: Orchestra) -> None:
    seq = play.submit(JOB)
    message = play.step().defer("j")
    play.step()
    cancel(play, seq)
    orders = [order for order in play.orders if isinstance(order, EndMessage)]
    polls = [order for order in play.orders if isinstance(order, PollMessage)]
    assert [each.key for order in orders for each in order.deferrals] == [message.key]
    assert [order.deferrals[0].key for order in polls] == [message.key]


def test_retrying_one_task_of_an_experiment_that_stops_on_failure_runs_it(play: Orchestra) -> None:
    seq = play.submit("on_failure: stop\ntasks: {a: {type: step}, b: {type: step}, c: {type: step, needs: [a]}}")
    play.step().end("a", FAILED)
    play.end("b", FAILED)
    assert play.step().states(seq) == {"a": "failed", "b": "failed", "c": "skipped"}
    retry(play.others, seq, now_s=NOW_S, by="eve", tasks=[0])
    assert play.step().states(seq) == {"a": "assigned", "b": "failed", "c": "waiting"}
    play.end("a")
    play.step().end("c")
    assert play.step().states(seq) == {"a": "succeeded", "b": "failed", "c": "succeeded"}
    assert (play.row(seq).state, play.row(seq).reason) == ("failed", "1 task failed")
    assert_told_in_full(play.others, [seq])


def test_what_a_retry_leaves_cancelled_is_named_as_the_reason_for_the_failure(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step}, b: {type: step}}")
    control.cancel(play.others, seq, now_s=NOW_S, by="eve")
    retry(play.others, seq, now_s=NOW_S, by="eve", tasks=[0])
    play.step().end("a")
    assert play.step().states(seq) == {"a": "succeeded", "b": "cancelled"}
    assert (play.row(seq).state, play.row(seq).reason) == ("failed", "1 task is cancelled")
