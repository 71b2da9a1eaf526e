"""`explain` where one process leads and works: planted causes, each of which must be named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.explained import fact, leads_with, nobody_leads, text, told, why
from tests.orchestra import Orchestra
from tests.play import BROKEN, DONE, FAILED, STOPPED, Clock, away, inventory, machine, play_types
from wlmctl import control
from wlmctl.message import Outcome
from wlmctl.plugins import scheduler_factory
from wlmctl.scheduler import Decision, Reason, Snapshot
from wlmctl.store.record import Recorder

ONE = "tasks: {a: {type: step}}"
CHAIN = "tasks: {a: {type: step}, b: {type: step, needs: [a]}, c: {type: step, needs: [b]}}"


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Orchestra]:
    clock = Clock()
    play_types(monkeypatch, clock)
    machines = inventory(machine("m", cpus=4, gpus=1), machine("nas", labels=("storage",)), machine("one", max_jobs=1))
    orchestra = Orchestra(tmp_path, machines, clock=clock, counters={"matlab": 2})
    leads_with(orchestra, '{"is_fleet": false, "slots": 2}')
    yield orchestra
    orchestra.close()


# what has not started


def test_a_task_whose_needs_have_not_ended_names_them_and_what_they_wait_for(play: Orchestra) -> None:
    seq = play.submit(CHAIN)
    play.step().begin("a")
    found = told(play.step(), seq, "c")
    assert found["why"]["code"] == "needs"
    assert found["why"]["tasks"] == ["b"]
    links = [(each["task"], each["why"]) for each in found["facts"] if each["code"] == "needed"]
    assert links == [("b", "needs"), ("a", "running")]


def test_of_many_tasks_that_are_needed_those_that_have_not_succeeded_are_named(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step, foreach: {n: 1..3}}, b: {type: step, needs: [a]}}")
    play.step().end("a[1]")
    found = told(play.step(), seq, "b")["why"]
    assert (found["code"], found["tasks"]) == ("needs", ["a[2]", "a[3]"])
    assert "all 3 of a" in found["text"]


def test_an_experiment_of_the_future_says_when_it_starts(play: Orchestra) -> None:
    seq = play.submit(f"start: +10m\n{ONE}")
    found = told(play.step(), seq, "a")["why"]
    assert found["code"] == "start"
    assert found["at"] == "2023-11-14T22:40:00.000Z"


def test_a_pause_says_who_and_what_to_type(play: Orchestra) -> None:
    seq = play.submit(ONE)
    control.pause(play.others, seq, now_s=play.clock.time(), by="eve")
    found = told(play.step(), seq, "a")["why"]
    assert found["code"] == "paused"
    assert "paused by eve" in found["text"]
    assert f"wlmctl resume {play.row(seq).id}" in found["text"]


def test_without_an_orchestrator_it_says_what_to_type(play: Orchestra) -> None:
    seq = play.submit(ONE)
    nobody_leads(play)
    assert why(play, seq, "a") == "no_orchestrator"
    assert "wlmctl orchestrator" in text(play, seq, "a")


def test_an_experiment_of_run_that_nobody_holds_says_how_to_go_on(play: Orchestra) -> None:
    seq = play.submit(ONE)
    with play.others.transaction():
        play.others.execute("UPDATE experiments SET origin = 'run' WHERE seq = ?", (seq,))
    assert why(play, seq, "a") == "no_process"
    assert f"wlmctl resume {play.row(seq).id}" in text(play, seq, "a")


def test_a_retry_delay_says_until_when_and_after_which_failure(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step, retry: {limit: 2, delay: 60s}}}")
    play.step().end("a", FAILED)
    found = told(play.step(), seq, "a")
    assert found["why"]["code"] == "retry_delay"
    assert (found["why"]["attempt"], found["why"]["failure_class"]) == (2, "user")
    assert "exit code 1" in found["why"]["text"]
    assert found["why"]["at"] == "2023-11-14T22:31:00.000Z"
    assert why(play.step(61), seq, "a") == "assigned"


def test_after_a_failure_of_the_infrastructure_the_delay_is_named_too(play: Orchestra) -> None:
    seq = play.submit(ONE)
    play.step().end("a", BROKEN)
    found = told(play.step(), seq, "a")["why"]
    assert (found["code"], found["failure_class"]) == ("retry_delay", "infra")


def test_a_held_machine_is_named_with_its_reason_and_its_next_probe(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step, machine: nas}}")
    play.step().end("a", away("nas"))
    found = told(play.step(), seq, "a")["why"]
    assert (found["code"], found["machine"]) == ("held", "nas")
    assert "no route to host" in found["text"]
    assert found["probe_due"] is not None


def test_a_machine_that_is_being_tried_again_is_not_told_to_be_tried_in_the_past(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step, machine: nas}}")
    play.step().end("a", away("nas"))
    assert "it is tried again at " in text(play.step(), seq, "a")
    play.clock.now_s += 60  # and no answer yet
    assert text(play, seq, "a").endswith("it is tried again now")


def test_a_hold_names_its_machine_once(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step, machine: nas}}")
    play.step().end("a", Outcome("unreachable", "machine nas: eve@nas:22: refused", machine="nas"))
    assert text(play.step(), seq, "a").count("machine nas") == 1
    assert play.rows(seq)["a"].reason == "machine nas is held: eve@nas:22: refused"


def test_a_role_that_fits_nothing_says_what_rules_out_each_machine(play: Orchestra) -> None:
    role = "machines: {big: {requires: {labels: [storage], cpus: 64}}}"
    seq = play.submit(f"{role}\ntasks: {{a: {{type: step, machine: big}}}}")
    found = told(play.step(), seq, "a")["why"]
    assert (found["code"], found["role"]) == ("role", "big")
    assert found["machines"] == {
        "local": "has no label storage", "m": "has no label storage", "one": "has no label storage",
        "nas": "has 4 cpus, 64 are required",
    }  # fmt: skip


def test_a_machine_that_is_too_small_for_the_task_does_not_fit_its_role(play: Orchestra) -> None:
    role = "machines: {r: {requires: {labels: [storage]}}}"
    seq = play.submit(f"{role}\ntasks: {{a: {{type: play, machine: r, resources: {{cpus: 16}}}}}}")
    found = told(play.step(), seq, "a")
    assert found["why"]["code"] == "role"
    assert found["why"]["machines"]["nas"] == "has 4 cpus, 16 are required"
    assert "role_open" not in [each["code"] for each in found["facts"]]


def test_a_role_whose_only_machine_is_held_says_so(play: Orchestra) -> None:
    first = play.submit("tasks: {x: {type: step, machine: nas}}")
    play.step().end("x", away("nas"))
    assert play.step().states(first) == {"x": "ready"}
    seq = play.submit("machines: {r: {requires: {labels: [storage]}}}\ntasks: {a: {type: step, machine: r}}")
    found = told(play.step(), seq, "a")["why"]
    assert found["code"] == "role"
    assert found["machines"]["nas"] == "is held"


def test_max_running_names_the_tasks_that_are_under_way(play: Orchestra) -> None:
    seq = play.submit("max_running: 1\ntasks: {a: {type: step, foreach: {n: 1..2}}}")
    found = told(play.step(), seq, "a:2")["why"]
    assert (found["code"], found["max_running"], found["tasks"]) == ("max_running", 1, ["a[1]"])


def test_a_machine_that_is_full_says_what_is_asked_what_is_free_and_who_has_the_rest(play: Orchestra) -> None:
    first = play.submit("tasks: {x: {type: play, machine: m, resources: {cpus: 3}}}")
    play.step().defer("x")
    seq = play.submit("tasks: {a: {type: play, machine: m, resources: {cpus: 2}}}")
    found = told(play.step(), seq, "a")["why"]
    assert found["code"] == "capacity"
    assert (found["cpus_wanted"], found["cpus_free"], found["cpus_total"]) == (2, 1, 4)
    assert found["holders"] == [{"experiment": play.row(first).id, "task": "x", "cpus": 3}]


def test_gpus_that_others_have_are_named(play: Orchestra) -> None:
    play.submit("tasks: {x: {type: play, machine: m, resources: {gpus: 1}}}")
    play.step().defer("x")
    seq = play.submit("tasks: {a: {type: play, machine: m, resources: {gpus: 1}}}")
    found = told(play.step(), seq, "a")["why"]
    assert (found["code"], found["gpus_free"], found["gpus_total"]) == ("capacity", 0, 1)
    assert "cpus_free" not in found


def test_a_machine_that_takes_no_more_jobs_names_those_it_has(play: Orchestra) -> None:
    play.submit("tasks: {x: {type: play, machine: one}}")
    play.step().defer("x")
    seq = play.submit("tasks: {a: {type: play, machine: one}}")
    found = told(play.step(), seq, "a")["why"]
    assert (found["code"], found["max_jobs"]) == ("max_jobs", 1)
    assert [each["task"] for each in found["holders"]] == ["x"]


def test_a_busy_process_says_how_many_steps_it_has(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step, foreach: {n: 1..20}}}")
    found = told(play.step(), seq, "a:20")["why"]
    assert (found["code"], found["slots"]) == ("slots", 2)
    assert found["steps"] >= 2


def test_priority_and_age_say_whose_tasks_are_before_it(play: Orchestra) -> None:
    low = play.submit("priority: low\ntasks: {a: {type: step, foreach: {n: 1..20}}}")
    play.step(5)
    high = play.submit("priority: urgent\ntasks: {b: {type: step, foreach: {n: 1..20}}}")
    found = fact(told(play.step(7), low, "a:20"), "order")
    ready = sum(state == "ready" for state in play.states(high).values())
    assert found["experiments"][0] == {"id": play.row(high).id, "user": play.row(high).user, "priority": 8,
                                       "ready": ready}  # fmt: skip
    assert found["priority"] == 2
    assert found["since"] == "2023-11-14T22:30:00.000Z"
    of_its_own = sum(state == "ready" for state in play.states(low).values()) - 1
    assert found["before"] == ready + of_its_own


def test_a_counter_that_others_have_used_up_names_them(play: Orchestra) -> None:
    first = play.submit("tasks: {x: {type: play, machine: m, resources: {counters: {matlab: 2}}}}")
    play.step().defer("x")
    seq = play.submit("tasks: {a: {type: step, machine: nas, resources: {counters: {matlab: 1}}}}")
    found = told(play.step(), seq, "a")["why"]
    assert (found["code"], found["counter"], found["wanted"], found["left"]) == ("counter", "matlab", 1, 0)
    assert found["holders"] == [{"experiment": play.row(first).id, "task": "x", "amount": 2}]


def test_a_machine_that_is_kept_for_a_task_that_waits_for_longer_names_that_task(play: Orchestra) -> None:
    play.scheduler = scheduler_factory("matchmaking")({"reserve_after": "10s"})
    play.lead()
    leads_with(play, '{"is_fleet": false, "slots": 50}')
    play.submit("tasks: {x: {type: play, machine: m, foreach: {n: 1..3}}}")
    play.step()
    for number in (1, 2, 3):
        play.defer(f"x[{number}]")
    play.step()
    big = play.submit("tasks: {big: {type: play, machine: m, resources: {cpus: 4}}}")
    play.step(20)
    small = play.submit("tasks: {s: {type: play, machine: m, foreach: {n: 1..2}}}")
    found = told(play.step(5), small, "s:2")["why"]
    assert found["code"] == "reserved"
    assert f"machine m is kept for {play.row(big).id} big" in found["text"]
    assert why(play, big, "big") == "capacity"


def test_a_deadline_is_told_beside_the_cause(play: Orchestra) -> None:
    seq = play.submit("deadline: +2h\nmax_running: 1\ntasks: {a: {type: step}, b: {type: step}}")
    said = fact(told(play.step(), seq, "b"), "deadline")
    assert said["until"] == "2023-11-15T00:30:00.000Z"
    assert said["text"].startswith("the experiment is to be done by ")
    play.clock.now_s += 3 * 3600
    assert fact(told(play, seq, "b"), "deadline")["text"].startswith("the experiment was to be done by ")


class Reserving:
    """Places nothing, and says why."""

    def assign(self, snapshot: Snapshot) -> Decision:
        return Decision(reasons={g.id: Reason("moon", "the moon is not full") for g in snapshot.groups})


@pytest.mark.parametrize("task", ["a:1", "a:3"])
def test_what_only_the_scheduler_knows_is_told_for_each_task_of_the_group(play: Orchestra, task: str) -> None:
    play.scheduler = Reserving()
    play.lead()
    seq = play.submit("tasks: {a: {type: step, foreach: {n: 1..3}}}")
    found = told(play.step(), seq, task)["why"]
    assert found["code"] == "moon"
    assert "the moon is not full" in found["text"]


def test_what_the_scheduler_said_before_the_task_moved_is_told_no_more(play: Orchestra) -> None:
    play.scheduler = Reserving()
    play.lead()
    seq = play.submit("tasks: {a: {type: step, retry: {limit: 1, delay: 1s}}}")
    assert why(play.step(), seq, "a") == "moon"
    play.scheduler = None
    play.lead()
    play.step().end("a", FAILED)
    found = told(play.step(), seq, "a")
    assert found["why"]["code"] == "retry_delay"
    assert [each["code"] for each in found["facts"]].count("scheduler") == 0


def test_an_experiment_that_the_orchestrator_cannot_work_on_says_why(play: Orchestra) -> None:
    seq = play.submit(ONE)
    with play.others.transaction():
        recorder = Recorder(play.others, seq, play.clock.time())
        recorder.note("declined", "it cannot be worked on: no task type step")
        recorder.flush()
    found = told(play, seq, "a")["why"]
    assert found["code"] == "declined"
    assert "no task type step" in found["text"]


# what is under way


def test_an_assigned_task_is_in_the_queue_of_the_process(play: Orchestra) -> None:
    seq = play.submit(ONE)
    found = told(play.step(), seq, "a")["why"]
    assert (found["code"], found["since"]) == ("assigned", "2023-11-14T22:30:00.000Z")


def test_an_assigned_task_without_a_process_says_what_to_type(play: Orchestra) -> None:
    seq = play.submit(ONE)
    play.step()
    nobody_leads(play)
    assert why(play, seq, "a") == "no_orchestrator"


def test_a_running_task_says_since_when_and_until_when_it_may(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step, timeout: 90s}}")
    play.step().begin("a")
    found = told(play.step(), seq, "a")["why"]
    assert found["code"] == "running"
    assert (found["since"], found["until"]) == ("2023-11-14T22:30:00.000Z", "2023-11-14T22:31:30.000Z")
    assert found["timeout_s"] == 90


def test_a_job_that_has_begun_runs_on_its_machine(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: play, machine: m, resources: {walltime: 1h}}}")
    play.step().end("a", Outcome("deferred", handle={"job": {"id": "77"}}, started=True))
    found = told(play.step(), seq, "a")["why"]
    assert (found["code"], found["machine"]) == ("running", "m")
    assert "job 77" in found["text"]
    assert found["walltime_s"] == 3600


def test_a_job_that_has_not_begun_is_in_the_batch_queue(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: play, machine: m}}")
    play.step().end("a", Outcome("deferred", handle={"job": 77}, started=False))
    found = told(play.step(), seq, "a")["why"]
    assert (found["code"], found["job"], found["machine"]) == ("batch_queue", "77", "m")


def test_a_job_of_a_machine_that_is_held_cannot_be_asked_for(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: play, machine: m}}")
    play.step().defer("a")
    for poll in play.step().polls():
        play.answer(poll, away("m"))
    found = told(play.step(), seq, "a")["why"]
    assert (found["code"], found["machine"]) == ("held", "m")
    assert "its job" in found["text"]


def test_a_task_that_is_being_cancelled_waits_for_proof(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: play, machine: m}}")
    play.step().defer("a")
    play.step()
    control.cancel(play.others, seq, now_s=play.clock.time(), by="eve")
    found = told(play.step(), seq, "a")["why"]
    assert (found["code"], found["machine"]) == ("cancelling", "m")
    assert "cancelled by eve" in found["text"]


# what has ended


def test_a_failed_task_says_why_by_which_event_and_why_no_attempt_followed(play: Orchestra) -> None:
    seq = play.submit(ONE)
    play.step().end("a", FAILED)
    found = told(play.step(), seq, "a")
    assert (found["why"]["code"], found["why"]["failure_class"], found["why"]["exit_code"]) == ("failed", "user", 1)
    assert "sets no retry" in fact(found, "no_retry")["text"]
    assert fact(found, "event")["n"] > 1


def test_a_task_that_has_spent_its_attempts_says_so(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step, retry: {limit: 1, delay: 1s}}}")
    play.step().end("a", FAILED)
    play.step(2).end("a", FAILED)
    found = told(play.step(), seq, "a")
    assert "failed 2 times, and retry.limit is 1" in fact(found, "no_retry")["text"]


def test_a_failure_that_the_retry_is_not_for_says_so(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step, retry: {limit: 1, on: [memory]}}}")
    play.step().end("a", FAILED)
    assert "for memory, not for user" in fact(told(play.step(), seq, "a"), "no_retry")["text"]


def test_a_task_that_can_never_fit_its_machine_has_failed_and_says_so(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: play, machine: m, resources: {gpus: 2}}}")
    found = told(play.step(), seq, "a")["why"]
    assert found["code"] == "failed"
    assert "asks for 2 gpus, machine m has 1" in found["text"]


def test_a_skipped_task_leads_back_to_the_task_that_failed(play: Orchestra) -> None:
    seq = play.submit(CHAIN)
    play.step().end("a", FAILED)
    found = told(play.step(), seq, "c")
    assert found["why"]["code"] == "skipped"
    assert [(each["task"], each["state"]) for each in found["facts"] if each["code"] == "needed"] == [
        ("b", "skipped"), ("a", "failed"),
    ]  # fmt: skip


def test_a_task_that_a_failure_has_stopped_names_the_first_that_failed(play: Orchestra) -> None:
    seq = play.submit("on_failure: stop\nmax_running: 1\ntasks: {a: {type: step}, b: {type: step}}")
    play.step().end("a", FAILED)
    found = told(play.step(), seq, "b")
    assert found["why"]["code"] == "skipped"
    assert fact(found, "needed")["task"] == "a"


def test_a_cancelled_task_says_who_did_it(play: Orchestra) -> None:
    seq = play.submit(ONE)
    play.step()
    control.cancel(play.others, seq, now_s=play.clock.time(), by="eve")
    play.step().end("a", STOPPED)
    found = told(play.step(), seq, "a")["why"]
    assert found["code"] == "cancelled"
    assert "cancelled by eve" in found["text"]


def test_a_task_that_was_cancelled_before_it_began_says_who_did_it(play: Orchestra) -> None:
    seq = play.submit(CHAIN)
    control.cancel(play.others, seq, now_s=play.clock.time(), by="eve")
    found = told(play.step(), seq, "c")["why"]
    assert found["code"] == "cancelled"
    assert "cancelled by eve" in found["text"]


def test_a_task_that_succeeded_says_where_and_how_long(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step, machine: nas}}")
    play.step().begin("a")
    play.step(5).end("a", DONE)
    found = told(play.step(), seq, "a")["why"]
    assert (found["code"], found["machine"], found["attempt"]) == ("succeeded", "nas", 1)
    assert "after 5.0s" in found["text"]


# what the past tells


def test_the_expected_start_comes_from_how_long_others_like_it_have_waited(play: Orchestra) -> None:
    text_of = "max_running: 1\ntasks: {a: {type: step, foreach: {n: 1..3}}}"
    play.submit(text_of)
    for number in (1, 2, 3):  # they wait for 0, 10 and 20 s, and run for 10 s
        play.step().begin(f"a[{number}]")
        play.step(10).end(f"a[{number}]")
    seq = play.submit(text_of)
    found = told(play.step(), seq, "a:3")
    waits = found["expected_start"]["waits"]
    assert found["expected_start"]["basis"] == "task"
    assert (waits["least_s"], waits["median_s"], waits["most_s"], waits["count"]) == (0, 10, 20, 3)
    assert found["expected_start"]["median"] == "2023-11-14T22:30:40.000Z"
    assert found["expected_start"]["latest"] == "2023-11-14T22:30:50.000Z"
    assert fact(found, "took")["median_s"] == 10
    later = told(play.step(15), seq, "a:3")["expected_start"]
    assert (later["median"], later["latest"]) == (None, "2023-11-14T22:30:50.000Z")


def test_what_a_task_did_itself_says_nothing_of_others_like_it(play: Orchestra) -> None:
    seq = play.submit("tasks: {a: {type: step}, b: {type: step}}")
    play.step().begin("a")
    assert [fact["code"] for fact in told(play, seq, "a")["facts"] if fact["code"] in ("waited", "took")] == []
    play.step(3).end("a", DONE)
    play.step().begin("b")
    assert fact(told(play, seq, "b"), "took")["text"] == "one other task of its type took 3.0s"


def test_where_nothing_of_its_name_is_known_its_type_counts(play: Orchestra) -> None:
    play.submit("name: other\ntasks: {x: {type: step}}")
    play.step().begin("x")
    play.step(3).end("x")
    seq = play.submit("max_running: 1\ntasks: {b: {type: step}, a: {type: step}}")
    found = told(play.step(), seq, "a")
    assert found["expected_start"]["basis"] == "type"
    assert fact(found, "took")["median_s"] == 3


@pytest.mark.parametrize("text_of", [
    "machines: {r: {requires: {labels: [none]}}}\ntasks: {a: {type: step, machine: r}}",
    "tasks: {a: {type: step, worker: {labels: [none]}}}",
])  # fmt: skip
def test_no_start_is_expected_of_what_no_turn_will_start(play: Orchestra, text_of: str) -> None:
    play.submit(ONE)
    play.step().begin("a")
    play.step(3).end("a")
    found = told(play.step(), play.submit(text_of), "a")
    assert "waited" in [each["code"] for each in told(play.step(), play.submit(text_of), "a")["facts"]]
    assert found["expected_start"] is None


def test_no_start_is_expected_where_somebody_must_do_something_first(play: Orchestra) -> None:
    play.submit(ONE)
    play.step().begin("a")
    play.step(3).end("a")
    seq = play.submit(ONE)
    nobody_leads(play)
    assert told(play, seq, "a")["expected_start"] is None
