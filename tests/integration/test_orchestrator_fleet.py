"""The leader of a fleet (docs/decisions/0014): where dispatches go, what follows when workers or broker are lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.losing_database import LosingDatabase
from tests.orchestra import PREFIX, assert_told_in_full
from tests.play import DONE, RUNNING, STOPPED, Clock, inventory, machine, play_types
from tests.played_fleet import PlayedFleet, PlayedWorker
from wlmctl import control
from wlmctl.broker.contract import Depth
from wlmctl.errors import StoreOutage
from wlmctl.host import this_process
from wlmctl.message import (
    AskMessage,
    CloseIdleMessage,
    DrainMessage,
    EndMessage,
    GrantMessage,
    Outcome,
    PermitsBackMessage,
    PollMessage,
    ProbeAnswerMessage,
    ProbeMessage,
    ResultMessage,
    StopMessage,
)
from wlmctl.queues import type_queue, worker_queue
from wlmctl.store import experiments, permits, workers

ONE = "tasks: {a: {type: step}}"
THREE = "tasks: {a: {type: step, foreach: {n: 1..3}}}"

Start = Callable[..., PlayedFleet]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    clock = Clock()
    play_types(monkeypatch, clock)
    opened: list[PlayedFleet] = []

    def opener(**settings: Any) -> PlayedFleet:
        machines = inventory(machine("m"), machine("far"))
        opened.append(PlayedFleet(tmp_path, machines, clock=clock, **settings))
        return opened[-1]

    yield opener
    for play in opened:
        seqs = [row[0] for row in play.others.rows("SELECT seq FROM experiments")]
        assert_told_in_full(play.others, seqs)
        play.close()


@pytest.fixture
def play(start: Start) -> PlayedFleet:
    return start()


# where dispatches go


def test_a_task_goes_to_a_worker_and_its_result_ends_it(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(ONE)
    play.step()
    worker.end("a")
    assert play.step().states(seq) == {"a": "succeeded"}
    assert play.rows(seq)["a"].worker == worker.id


def test_without_a_worker_tasks_wait_and_say_why(play: PlayedFleet) -> None:
    seq = play.submit(ONE)
    assert play.step(1).states(seq) == {"a": "ready"}
    assert play.told(seq, "waiting") == ["no live worker can do it"]
    worker = play.worker("w")
    play.step()
    assert worker.names() == ["a"]


def test_what_every_consumer_can_do_goes_to_the_shared_queue(play: PlayedFleet) -> None:
    play.worker("v"), play.worker("w")
    seq = play.submit(THREE)
    play.step()
    [work] = play.orchestrator.works.values()
    assert {active.queue for active in work.active.values()} == {type_queue(PREFIX, "step")}
    assert work.seq == seq


def test_what_not_every_consumer_can_do_goes_to_the_queue_of_one_that_can(play: PlayedFleet) -> None:
    here = play.worker("here", machines=("local", "m"))
    play.worker("there", machines=("far",))
    play.submit("tasks: {a: {type: step, machine: m}}")
    play.step()
    [work] = play.orchestrator.works.values()
    assert [active.queue for active in work.active.values()] == [worker_queue(PREFIX, here.id)]
    assert here.names() == ["a"]


def test_labels_are_minded(play: PlayedFleet) -> None:
    play.worker("v")
    labelled = play.worker("w", labels=("site=b",))
    play.submit("tasks: {a: {type: step, worker: {labels: [site=b]}}}")
    play.step()
    assert labelled.names() == ["a"]


def test_a_worker_gets_only_its_types(play: PlayedFleet) -> None:
    jobs, steps = play.worker("jobs", types=("play",)), play.worker("steps", types=("step",))
    play.submit("tasks: {a: {type: step}, j: {type: play}}")
    play.step()
    assert (jobs.names(), steps.names()) == (["j"], ["a"])


def test_an_old_worker_that_reads_other_schemas_gets_nothing(play: PlayedFleet) -> None:
    old = play.worker("old", schemas=(0,))
    seq = play.submit(ONE)
    play.step(2)
    assert old.names() == []
    assert play.states(seq) == {"a": "ready"}


def test_what_touches_local_goes_only_to_workers_of_that_host_and_login(play: PlayedFleet) -> None:
    play.worker("elsewhere", host="there"), play.worker("other", user="you")
    seq = play.submit(ONE)
    play.step(1)
    assert play.states(seq) == {"a": "ready"}
    here = play.worker("here")
    play.step()
    assert here.names() == ["a"]


def test_local_of_another_host_is_asked_and_worked_on_there(play: PlayedFleet) -> None:
    here, there = play.worker("here"), play.worker("there", host="there", host_name="there")
    seq = play.submit("tasks: {j: {type: play}}")
    with play.others.transaction():
        play.others.execute("UPDATE experiments SET host = 'there', host_name = 'there', revision = revision + 1")
    play.step()
    [probe] = [order for order in there.orders if isinstance(order, ProbeMessage)]
    there.say(ProbeAnswerMessage(there.id, probe.machine.name, "", cpus=2, memory_bytes=0, gpus=0))
    play.step()
    assert (here.names(), there.names()) == ([], ["j"])
    there.end("j", Outcome("deferred", handle={"job": 1}))
    play.step()
    assert any(isinstance(order, PollMessage) for order in there.orders)
    assert play.rows(seq)["j"].machine == "local"


def test_local_on_binds_local_to_a_worker_that_is_named(play: PlayedFleet) -> None:
    there = play.worker("there", host="h2", host_name="there", labels=("nas",))
    play.worker("here")
    seq = play.submit(ONE)
    with play.others.transaction():
        play.others.execute("UPDATE experiments SET local_on = 'nas', revision = revision + 1")
    play.step()
    assert there.names() == ["a"]
    assert there.task("a").folder == "", "its folder is on the host of the submit"
    assert experiments.bindings(play.others, seq) == {"local": "me@h2"}


def test_local_on_waits_for_a_worker_that_is_not_there(play: PlayedFleet) -> None:
    play.worker("here")
    seq = play.submit(ONE)
    with play.others.transaction():
        play.others.execute("UPDATE experiments SET local_on = 'nas', revision = revision + 1")
    play.step(1)
    assert play.states(seq) == {"a": "ready"}
    assert play.told(seq, "waiting") == ["no live worker is, or is on, nas (--local-on)"]


def test_a_declined_task_goes_to_another_worker(play: PlayedFleet) -> None:
    play.worker("v"), play.worker("w")
    seq = play.submit(ONE)
    play.step()
    [first] = play.who_has("a")
    decliner = next(worker for worker in play.workers if worker.info.name == first)
    decliner.end("a", Outcome("declined", reason="no such plugin"))
    play.step()
    assert play.who_has("a") == [{"v": "w", "w": "v"}[first]]
    assert play.states(seq) == {"a": "assigned"}


def test_what_every_worker_declines_is_offered_again_after_a_while(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(ONE)
    play.step()
    worker.end("a", Outcome("declined", reason="no such plugin"))
    assert play.step().states(seq) == {"a": "waiting"}
    play.step(31)
    assert worker.names() == ["a"]


# the window


def test_only_free_slots_are_filled_while_nothing_is_known_of_the_rate(play: PlayedFleet) -> None:
    worker = play.worker("w", slots=3)
    play.submit("tasks: {a: {type: step, foreach: {n: 1..50}}}")
    play.step()
    assert len(worker.held) == 3


def test_what_was_finished_lately_is_sent_ahead_and_no_more_when_that_ends(play: PlayedFleet) -> None:
    worker = play.worker("w", slots=2)
    worker.channel.consume(type_queue(PREFIX, "step"), 100)
    play.submit("tasks: {a: {type: step, foreach: {n: 1..50}}}")
    play.step()
    for _ in range(4):
        for name in worker.names():
            worker.end(name)
        play.step()
    assert len(worker.held) > 2
    play.step(1)
    for name in worker.names():
        worker.end(name)
        play.step(1)
    assert len(worker.held) <= 3


def test_an_urgent_task_does_not_wait_for_slots_that_lesser_ones_have(play: PlayedFleet) -> None:
    worker = play.worker("w", slots=2)
    worker.channel.consume(type_queue(PREFIX, "step"), 100)
    play.submit("tasks: {low: {type: step, foreach: {n: 1..50}}}")
    play.step()
    assert len(worker.held) == 2
    play.submit("priority: 9\ntasks: {urgent: {type: step, foreach: {n: 1..50}}}")
    play.step()
    assert [name[:3] for name in worker.names()].count("urg") == 2
    assert worker.task("urgent[1]").priority == 9


def test_two_workers_are_filled_alike(play: PlayedFleet) -> None:
    play.worker("v", slots=2), play.worker("w", slots=2), play.worker("x", machines=("far",))
    play.submit("tasks: {a: {type: step, machine: m, foreach: {n: 1..50}}}")
    play.step()
    assert [len(worker.held) for worker in play.workers] == [2, 2, 0]


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


# poison


def kill(play: PlayedFleet, name: str) -> bool:
    """The task kills the worker that has it; True when it was executed alone."""
    [victim] = [worker for worker in play.workers if not worker.is_dead and name in worker.names()]
    message = victim.begin(name)
    play.step(1)
    victim.die()
    play.worker(f"next{len(play.workers)}")
    play.step(4)
    return message.alone


def test_a_task_that_kills_its_workers_is_isolated_and_then_quarantined(play: PlayedFleet) -> None:
    play.worker("w")
    seq = play.submit(ONE)
    play.step()
    assert [kill(play, "a") for _ in range(3)] == [False, False, True]
    assert play.states(seq) == {"a": "failed"}
    row = play.rows(seq)["a"]
    assert (row.kills, row.failure_class, row.reason) == (3, "infra", "it has killed three workers")


def test_what_executes_beside_a_poisonous_task_is_not_quarantined(play: PlayedFleet) -> None:
    play.worker("w")
    seq = play.submit("tasks: {bad: {type: step}, good: {type: step}}")
    play.step()
    for _ in range(3):
        for worker in play.workers:
            if not worker.is_dead and {"good", "bad"} <= set(worker.names()) and not worker.task("good").alone:
                worker.begin("good")
        kill(play, "bad")
    assert play.states(seq)["bad"] == "failed"
    assert play.rows(seq)["good"].kills < 3
    [survivor] = [worker for worker in play.workers if not worker.is_dead and "good" in worker.names()]
    survivor.end("good")
    assert play.step().states(seq)["good"] == "succeeded"


def test_a_death_that_nothing_explains_makes_the_leader_careful(play: PlayedFleet) -> None:
    worker = play.worker("v")
    seq = play.submit(THREE)
    play.step(1)
    worker.die()
    other = play.worker("w")
    play.step(4)
    assert {message.careful for message, _ in other.held.values()} == {True}
    assert {row.kills for row in play.rows(seq).values()} == {0}


def test_what_a_killed_worker_had_not_said_to_have_begun_is_handed_out_with_care(play: PlayedFleet) -> None:
    worker = play.worker("v")
    play.submit("tasks: {told: {type: step}, untold: {type: step}}")
    play.step()
    worker.begin("told")
    play.step(1)
    other = play.worker("w")
    play.step(1)
    worker.die()
    play.step(1)
    assert other.task("untold").careful


def test_a_restart_of_the_broker_counts_no_kills(play: PlayedFleet) -> None:
    worker = play.worker("v")
    seq = play.submit(ONE)
    play.step()
    worker.begin("a")
    play.step(1)
    play.broker.restart()
    worker.die()  # it does not come back
    other = play.worker("w")
    play.step(13)
    assert other.names() == ["a"]
    assert play.rows(seq)["a"].kills == 0


def test_a_drained_worker_that_is_killed_counts_no_kill(play: PlayedFleet) -> None:
    worker = play.worker("v")
    seq = play.submit(ONE)
    play.step()
    worker.begin("a")
    worker.is_draining = True
    play.step(1)
    worker.die()
    play.step(4)
    assert play.worker_states() == {"v": "dead"}
    assert play.rows(seq)["a"].kills == 0


def test_a_worker_that_was_only_cut_off_has_killed_nobody(play: PlayedFleet) -> None:
    worker = play.worker("v")
    seq = play.submit(ONE)
    play.step()
    worker.begin("a")
    play.step(1)
    worker.die()
    play.step(4)
    assert play.rows(seq)["a"].kills == 1
    again = play.worker("v")
    again.info = worker.info  # the same process, under a new id
    again.beat()
    play.step()
    assert play.rows(seq)["a"].kills == 0


# what the broker loses


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


# leases


def test_a_leased_dispatch_is_not_lost_though_no_message_of_it_is_left(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(ONE)
    play.step()
    worker.lease("a")
    play.step(60)
    assert play.dispatch(seq, "a") == 1, "each heartbeat renews it"
    worker.end("a")
    assert play.step().states(seq) == {"a": "succeeded"}


def test_a_lease_that_is_not_renewed_runs_out(start: Start) -> None:
    play = start(lease_s=6.0)
    worker = play.worker("w")
    seq = play.submit(ONE)
    play.step()
    message = worker.lease("a")
    play.step(3)
    worker.leased.discard(message.key)
    worker.begun.discard(message.key)
    worker.held.pop(message.key)
    play.step(4)
    assert play.dispatch(seq, "a") == 1
    play.step(4)
    assert play.dispatch(seq, "a") == 2


def test_a_lease_has_a_full_term_after_a_reconnect(start: Start) -> None:
    play = start(lease_s=6.0)
    worker = play.worker("w")
    seq = play.submit(ONE)
    play.step()
    message = worker.lease("a")
    play.step(1)
    worker.leased.discard(message.key)
    worker.begun.discard(message.key)
    worker.held.pop(message.key)
    play.step(4)
    play.broker.restart()
    play.step(4)
    assert play.dispatch(seq, "a") == 1
    play.step(5)
    assert play.dispatch(seq, "a") == 2


# leaders


def test_a_new_leader_knows_the_workers_and_what_they_have(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(ONE)
    play.step(1)
    play.lead()
    play.step(20)
    assert play.dispatch(seq, "a") == 1
    worker.end("a")
    assert play.step().states(seq) == {"a": "succeeded"}


def test_a_new_leader_sends_again_only_what_may_not_have_arrived(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(THREE)
    play.step(2)
    first = worker.task("a[1]")
    with play.others.transaction():  # as if the leader had died before the last confirm was noted
        upto = int(play.others.row("SELECT value FROM meta WHERE key = 'published_upto'")[0])
        play.others.execute("UPDATE meta SET value = ? WHERE key = 'published_upto'", (str(upto - 1),))
    sent = {row.sent: name for name, row in play.rows(seq).items()}
    had = len(worker.held)
    worker.held.clear()
    play.lead()
    play.step()
    assert had == 3
    assert worker.names() == [sent[upto]]
    again = worker.task(sent[upto])
    assert (again.key.dispatch, again.nonce) == (1, again.nonce)
    if again.task == first.task:
        assert again.nonce == first.nonce
    assert {row.dispatch for row in play.rows(seq).values()} == {1}


def test_a_new_leader_finds_what_is_lost_though_it_does_not_know_where_it_was_sent(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(ONE)
    play.step(2)
    worker.drop("a")
    play.lead()
    play.step(12)
    assert worker.names() == ["a"]
    assert play.dispatch(seq, "a") == 2


def test_what_a_dead_worker_had_is_handed_out_by_a_leader_that_never_heard_it(play: PlayedFleet) -> None:
    first = play.worker("v")
    seq = play.submit(ONE)
    play.step()
    first.begin("a")
    play.step(1)
    first.die()
    play.lead()
    second = play.worker("w")
    play.step(5)
    assert second.names() == ["a"]
    assert play.dispatch(seq, "a") == 2
    assert play.worker_states()["v"] == "dead"


def test_a_dispatch_of_a_leader_without_a_fleet_is_raised(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(ONE)
    play.step()
    with play.others.transaction():
        play.others.execute("UPDATE tasks SET sent = NULL")
    play.lead()
    play.step()
    assert play.dispatch(seq, "a") == 2
    assert worker.task("a").key.dispatch == 2


# control


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


# permits


def ask(worker: PlayedWorker, token: str, limit: int = 1) -> None:
    """The worker wants a connection."""
    worker.say(AskMessage(worker.id, token, "me@m:22", limit))


def granted(worker: PlayedWorker) -> list[str]:
    """The tokens that it was granted."""
    return [token for order in worker.orders if isinstance(order, GrantMessage) for token in order.tokens]


def test_a_permit_is_granted_while_there_are_any_and_the_next_waits_its_turn(play: PlayedFleet) -> None:
    first, second, third = (play.worker(name) for name in "vwx")
    play.step()
    for worker, token in ((first, "a"), (second, "b"), (third, "c")):
        ask(worker, token)
        play.step()
    assert [granted(worker) for worker in (first, second, third)] == [["a"], [], []]
    assert any(isinstance(order, CloseIdleMessage) for order in first.orders), "it may have an idle connection"
    first.say(PermitsBackMessage(first.id, ["a"]))
    play.step(1)
    assert [granted(worker) for worker in (first, second, third)] == [["a"], ["b"], []]


def test_a_permit_that_is_asked_for_twice_is_one_permit(play: PlayedFleet) -> None:
    worker = play.worker("w")
    play.step()
    ask(worker, "a", limit=2)
    play.step(1)
    ask(worker, "a", limit=2)
    play.step(1)
    assert granted(worker) == ["a", "a"], "the first answer may have been lost"
    assert play.others.row("SELECT count(*) FROM permits")[0] == 1


def test_permits_of_other_processes_of_the_store_count(play: PlayedFleet) -> None:
    worker = play.worker("w")
    with play.others.transaction():
        assert permits.take(play.others, "run", "me@m:22", 1, this_process())
    play.step()
    ask(worker, "a")
    play.step(1)
    assert granted(worker) == []
    with play.others.transaction():
        permits.give_back(play.others, ["run"])
    play.step(1)
    assert granted(worker) == ["a"]


def test_a_permit_that_its_worker_lists_no_more_comes_back(play: PlayedFleet) -> None:
    first, second = play.worker("v"), play.worker("w")
    play.step()
    ask(first, "a")
    play.step()
    first.permits = ["a"]
    ask(second, "b")
    play.step(6)
    ask(second, "b")
    play.step(1)
    assert granted(second) == [], "it is listed"
    first.permits = []
    play.step(5)
    assert granted(second) == ["b"]


def test_the_permits_of_a_dead_worker_come_back_after_the_grace(play: PlayedFleet) -> None:
    first, second = play.worker("v"), play.worker("w")
    play.step()
    ask(first, "a")
    play.step(1)
    first.permits = ["a"]
    first.die()
    play.step(10)
    ask(second, "b")
    play.step(10)
    assert granted(second) == [], "its process may still use the connection"
    for _ in range(5):
        ask(second, "b")
        play.step(5)
    assert granted(second)[0] == "b"


def test_a_worker_under_a_new_id_keeps_its_permits(play: PlayedFleet) -> None:
    first = play.worker("v")
    play.step()
    ask(first, "a")
    play.step(1)
    first.die()
    again = play.worker("v")
    again.permits = ["a"]
    play.step(60)
    assert play.others.row("SELECT worker FROM permits")[0] == again.id


def test_commands_a_minute_are_counted_over_all_workers(play: PlayedFleet) -> None:
    first, second = play.worker("v"), play.worker("w")
    play.step()
    first.say(AskMessage(first.id, "a", "me@m:22", per_minute=1))
    play.step()
    second.say(AskMessage(second.id, "b", "me@m:22", per_minute=1))
    play.step(5)
    assert (granted(first), granted(second)) == (["a"], [])
    for _ in range(12):
        second.say(AskMessage(second.id, "b", "me@m:22", per_minute=1))
        play.step(5)
    assert granted(second) == ["b"]
