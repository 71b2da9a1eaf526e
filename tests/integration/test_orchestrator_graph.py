"""What starts when: edges, failures, limits, start times, values handed on, and the end of it all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.orchestra import WORKER, Orchestra, assert_told_in_full
from tests.play import DONE, FAILED, NOW_S, Clock, InterruptibleDatabase, play_types
from tests.play import task_type as played_type
from wlmctl import control
from wlmctl.errors import PluginError
from wlmctl.message import CleanedMessage, CleanMessage, Outcome
from wlmctl.retry import retry
from wlmctl.store.leases import LeaseLost


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Orchestra]:
    clock = Clock()
    play_types(monkeypatch, clock)
    orchestra = Orchestra(tmp_path, clock=clock, slots=16, database=InterruptibleDatabase)
    yield orchestra
    orchestra.close()


def test_a_task_starts_when_all_that_it_needs_has_succeeded(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step, foreach: {n: 1..3}}, b: {type: step, needs: [a]}}")
    play.step().end("a[1]")
    play.end("a[2]")
    assert play.step().states(seq)["b"] == "waiting"
    play.end("a[3]")
    assert play.step().states(seq)["b"] == "assigned"


def test_partners_do_not_wait_for_other_instances(play: Orchestra) -> None:
    seq = play.submit(
        "tasks: {a: {type: step, foreach: {n: 1..2}}, b: {type: step, foreach: {n: 1..2}, needs: ['a[${n}]']}}"
    )
    play.step().end("a[2]")
    assert play.step().states(seq) == {"a[1]": "assigned", "a[2]": "succeeded", "b[1]": "waiting", "b[2]": "assigned"}
    play.end("a[1]", FAILED)
    assert play.step().states(seq)["b[1]"] == "skipped"


def test_a_failure_skips_what_needs_it_through_others_and_the_rest_goes_on(play: Orchestra) -> None:
    seq = play.submit(
        "tasks: {a: {type: step}, b: {type: step, needs: [a]}, c: {type: step, needs: [b]},"
        " d: {type: step}, e: {type: step, needs: [d]}}"
    )
    play.step().end("a", FAILED)
    assert play.step().states(seq) == {"a": "failed", "b": "skipped", "c": "skipped", "d": "assigned", "e": "waiting"}
    play.end("d")
    play.step().end("e")
    assert play.step().row(seq).state == "failed"
    assert play.row(seq).reason == "1 task failed"


def test_what_needs_only_the_end_runs_after_failures_and_skips(play: Orchestra) -> None:
    seq = play.submit(
        "tasks: {a: {type: step}, b: {type: step, needs: [a]}, c: {type: step, needs: [{a: ended}, {b: ended}]}}"
    )
    play.step().end("a", FAILED)
    assert play.step().states(seq) == {"a": "failed", "b": "skipped", "c": "assigned"}
    play.end("c")
    assert play.step().row(seq).state == "failed"


def test_a_task_that_may_fail_does_not_fail_the_experiment_nor_stop_it(play: Orchestra) -> None:
    seq = play.submit(
        "on_failure: stop\ntasks: {a: {type: step, may_fail: true}, b: {type: step, needs: [{a: ended}]}}"
    )
    play.step().end("a", FAILED)
    play.step().end("b")
    assert play.step().states(seq) == {"a": "failed", "b": "succeeded"}
    assert play.row(seq).state == "succeeded"


def test_on_failure_stop_lets_run_what_runs_and_starts_nothing_new(play: Orchestra) -> None:
    seq = play.submit(
        "on_failure: stop\nmax_running: 2\ntasks: {a: {type: step}, b: {type: step}, c: {type: step},"
        " d: {type: step, needs: [b]}, e: {type: step, retry: {limit: 5, delay: 0}}}"
    )
    play.step().end("a", FAILED)
    assert play.step().states(seq) == {"a": "failed", "b": "assigned", "c": "skipped", "d": "skipped", "e": "skipped"}
    play.end("b")
    play.step()
    assert (play.states(seq)["b"], play.row(seq).state) == ("succeeded", "failed")
    assert_told_in_full(play.others, [seq])


def test_on_failure_stop_outlives_the_orchestrator(play: Orchestra) -> None:
    seq = play.submit("on_failure: stop\nmax_running: 2\ntasks: {a: {type: step}, b: {type: step}, c: {type: step}}")
    play.step().end("a", FAILED)
    play.orchestrator.step()
    play.lead()
    play.step().end("b", FAILED)
    play.step()
    assert play.states(seq) == {"a": "failed", "b": "failed", "c": "skipped"}


def test_max_running_counts_all_that_is_under_way_jobs_included(play: Orchestra) -> None:
    seq = play.submit(
        "max_running: 3\ntasks: {j: {type: play, foreach: {n: 1..3}}, s: {type: step, foreach: {n: 1..3}}}"
    )
    play.step()
    for name in [name for name in play.names() if name.startswith("j")]:
        play.defer(name)
    play.step()
    states = list(play.states(seq).values())
    assert sum(state in ("assigned", "deferred") for state in states) == 3


def test_an_experiment_waits_for_its_start_which_counts_from_the_submit(play: Orchestra) -> None:
    seq = play.submit("start: +2s\ntasks: {a: {type: step}}")
    assert play.step(1.9).row(seq).state == "scheduled"
    assert play.names() == []
    assert play.step(0.2).row(seq).state == "running"
    assert play.names() == ["a"]
    assert_told_in_full(play.others, [seq])


def test_a_paused_start_waits_for_the_resume(play: Orchestra) -> None:
    seq = play.submit("start: +2s\ntasks: {a: {type: step}}")
    control.pause(play.others, seq, now_s=play.clock.time(), by="eve")
    assert play.step(5).names() == []
    control.resume(play.others, seq, now_s=play.clock.time())
    assert play.step().names() == ["a"]


def test_a_pause_starts_nothing_takes_results_and_a_resume_goes_on(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step}, b: {type: step, needs: [a]}}")
    play.step()
    control.pause(play.others, seq, now_s=NOW_S, by="eve")
    play.step().end("a")
    assert play.step().states(seq) == {"a": "succeeded", "b": "waiting"}
    control.resume(play.others, seq, now_s=NOW_S)
    assert play.step().states(seq)["b"] == "assigned"


def test_an_experiment_whose_last_task_ends_in_a_pause_has_ended(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step}}")
    play.step()
    control.pause(play.others, seq, now_s=NOW_S, by="eve")
    play.step().end("a")
    assert play.step().row(seq).state == "succeeded"


def test_outputs_and_folders_are_handed_on(play: Orchestra) -> None:
    seq = play.submit(
        "tasks:\n  a: {type: step, foreach: {n: 1..2}, outputs: {e: x}}\n  s: {type: step}\n"
        "  b: {type: step, foreach: {n: 1..2}, needs: ['a[${n}]', s],"
        " text: '${tasks.a[${n}].outputs.e} in ${tasks.s.folder}'}\n"
    )
    play.step().end("a[1]", Outcome("done", outputs={"e": "one"}))
    play.end("a[2]", Outcome("done", outputs={"e": "${n}"}))
    play.end("s", Outcome("done", folder="/scratch/x"))
    play.step()
    assert play.task("b[1]").text["text"] == "one in /scratch/x"
    assert play.task("b[2]").text["text"] == "${n} in /scratch/x", "a value is never looked into again"
    assert play.row(seq).state == "running"


def test_a_value_that_does_not_exist_fails_the_task_by_name(play: Orchestra) -> None:
    seq = play.submit(
        "tasks: {a: {type: step, outputs: {e: x}}, b: {type: step, needs: [{a: ended}], text: '${tasks.a.outputs.e}'},"
        " c: {type: step, needs: [{a: ended}], text: '${tasks.a.folder}'}}"
    )
    play.step().end("a", FAILED)
    rows = play.step().rows(seq)
    assert rows["b"].reason == "${tasks.a.outputs.e}: task a is failed and has no output e"
    assert rows["c"].reason == "${tasks.a.folder}: task a is failed and has no folder"
    assert play.row(seq).state == "failed"
    assert_told_in_full(play.others, [seq])


@pytest.mark.parametrize(
    ("clean", "outcome", "is_cleaned"),
    [
        ("never", DONE, False),
        ("succeeded", DONE, True),
        ("succeeded", FAILED, False),
        ("always", FAILED, True),
    ],
)
def test_folders_are_removed_at_the_end_as_the_file_says(
    play: Orchestra, clean: str, outcome: Outcome, is_cleaned: bool
) -> None:
    seq = play.submit(f"clean: {clean}\ntasks: {{a: {{type: step}}}}")
    play.step().end("a", outcome)
    orders = [order for order in play.step().orders if isinstance(order, CleanMessage)]
    assert [(order.machine.name, order.exp) for order in orders] == ([("local", seq)] if is_cleaned else [])
    if is_cleaned:
        play.say(CleanedMessage(WORKER, "local", seq, ""))
        assert play.step().row(seq).cleaned == 1
    assert_told_in_full(play.others, [seq])


def test_a_folder_that_cannot_be_removed_is_named_with_what_to_do(play: Orchestra) -> None:
    seq = play.submit("clean: always\ntasks: {a: {type: step}}")
    play.step().end("a")
    play.step().say(CleanedMessage(WORKER, "local", seq, "no permission"))
    play.step()
    [told] = play.told(seq, "clean")
    assert told == f"not cleaned on local: no permission; later: wlmctl clean {play.row(seq).id}"


def test_a_changed_priority_counts_from_the_next_decision(play: Orchestra) -> None:
    play.slots = 1
    play.lead()
    first = play.submit("tasks: {a: {type: play, resources: {cpus: 4}, foreach: {n: 1..2}}}")
    second = play.submit("tasks: {b: {type: play, resources: {cpus: 4}}}")
    play.step()
    assert play.names() == ["a[1]"]
    control.set_priority(play.others, second, 9, now_s=NOW_S)
    play.end("a[1]")
    assert play.step().names() == ["b"]
    assert play.states(first)["a[2]"] == "ready"


def test_a_user_who_writes_while_the_orchestrator_waits_for_the_lock_is_heard_first(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step}, b: {type: step}}")
    play.step()
    assert isinstance(play.db, InterruptibleDatabase)
    play.db.interruption = lambda: control.cancel(play.others, seq, now_s=NOW_S, by="eve")
    play.end("a")
    play.step()
    assert play.states(seq) == {"a": "succeeded", "b": "cancelling"}
    assert_told_in_full(play.others, [seq])


def test_who_has_lost_the_lead_writes_nothing_any_more(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step}}")
    old = play.step().orchestrator
    message = play.end("a", keep=True)
    lost = play.orchestrator
    channel_of_old = play.broker
    play.lead()
    with pytest.raises(LeaseLost):
        old.step()
    assert lost is old
    assert channel_of_old is not play.broker
    assert play.states(seq) == {"a": "assigned"}
    assert play.step().task("a").key == replace(message.key, dispatch=2)


def test_a_daemon_forgets_what_has_ended_and_takes_it_up_again_for_a_retry(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step}}")
    play.step().end("a", FAILED)
    assert play.step().orchestrator.works == {}
    retry(play.others, seq, now_s=NOW_S, by="eve")
    message = play.step().end("a")
    assert message.key.attempt == 2
    assert play.step().row(seq).state == "succeeded"
    assert_told_in_full(play.others, [seq])


def test_an_experiment_whose_plugin_is_gone_does_not_keep_a_daemon_from_the_others(
    play: Orchestra, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = play.submit("tasks: {a: {type: play}}")

    def without_play(name: str) -> object:
        if name == "play":
            raise PluginError("task type 'play': no such plugin")
        return played_type(name)

    monkeypatch.setattr("wlmctl.plugins.task_type", without_play)
    good = play.submit("tasks: {a: {type: step}}")
    assert play.step(5).states(good) == {"a": "assigned"}
    assert play.told(bad, "declined") == ["it cannot be worked on: task type 'play': no such plugin"]
    assert play.states(bad) == {"a": "waiting"}
