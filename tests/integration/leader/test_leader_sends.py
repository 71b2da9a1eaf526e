"""Where dispatches go, and how many are sent ahead."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.orchestra import PREFIX
from tests.played_fleet import PlayedFleet, PlayedWorker
from wlmctl.message import (
    Outcome,
    PollMessage,
    ProbeAnswerMessage,
    ProbeMessage,
)
from wlmctl.plugins import scheduler_factory
from wlmctl.queues import type_queue, worker_queue
from wlmctl.store import experiments

ONE = "tasks: {a: {type: step}}"
THREE = "tasks: {a: {type: step, foreach: {n: 1..3}}}"


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


@pytest.mark.parametrize("each", ["", ", each: n"])
def test_a_task_whose_role_is_bound_with_its_start_goes_to_a_worker_that_reaches_the_machine(
    start: Callable[..., PlayedFleet], each: str
) -> None:
    play = start(scheduler=scheduler_factory("matchmaking")({}))
    play.worker("there", machines=("far",), slots=1)
    here = play.worker("here", machines=("local", "m"), slots=9)
    task = "a: {type: step, machine: r, foreach: {n: 1..3}}"
    play.submit(f"machines: {{r: {{requires: {{}}{each}}}}}\ntasks: {{{task}}}")
    play.step()
    [work] = play.orchestrator.works.values()
    reach = {"m": [worker_queue(PREFIX, here.id)], "far": [worker_queue(PREFIX, play.workers[0].id)]}
    assert len(work.active) == (3 if each else 1), "far has one slot"
    for active in work.active.values():
        assert active.queue in reach.get(str(active.machine), reach["m"])


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


# what travels together


def deliveries(worker: PlayedWorker) -> dict[int, list[str]]:
    """The names of what it has, by the delivery in which they came."""
    found = dict[int, list[str]]()
    for message, delivery in worker.held.values():
        found.setdefault(id(delivery), []).append(message.task)
    return found


def hurry(play: PlayedFleet, rounds: int = 6) -> None:
    """The workers end all that they have, again and again, in no time."""
    for _ in range(rounds):
        for worker in play.workers:
            for name in worker.names():
                worker.end(name)
        play.step()


def test_what_is_done_in_a_moment_travels_together_in_as_many_deliveries_as_keep_all_workers_busy(
    play: PlayedFleet,
) -> None:
    for name in ("v", "w"):
        play.worker(name, slots=4).channel.consume(type_queue(PREFIX, "step"), 100)
    seq = play.submit("tasks: {a: {type: step, foreach: {n: 1..900}}}")
    play.step()
    assert all(len(names) == 1 for worker in play.workers for names in deliveries(worker).values())
    hurry(play)
    sizes = [len(names) for worker in play.workers for names in deliveries(worker).values()]
    assert len(sizes) >= 4
    assert 1 < max(sizes) <= 10
    hurry(play, 20)
    assert set(play.states(seq).values()) == {"succeeded"}


def test_what_comes_after_quick_tasks_travels_alone_until_it_is_known_to_be_quick_too(play: PlayedFleet) -> None:
    worker = play.worker("v", slots=4)
    worker.channel.consume(type_queue(PREFIX, "step"), 100)
    play.submit("tasks: {a: {type: step, foreach: {n: 1..600}}, b: {type: step, needs: [a], foreach: {n: 1..200}}}")
    play.step()
    while not any(name.startswith("b") for name in worker.names()):
        hurry(play, 1)
    assert len(worker.held) > 4, "as many are sent ahead as were finished lately"
    assert all(len(names) == 1 for names in deliveries(worker).values())


def test_what_may_kill_workers_travels_alone(play: PlayedFleet) -> None:
    worker = play.worker("v", slots=4)
    worker.channel.consume(type_queue(PREFIX, "step"), 100)
    play.submit("tasks: {a: {type: step, foreach: {n: 1..900}}}")
    play.step()
    hurry(play)
    together = [names for names in deliveries(worker).values() if len(names) > 1]
    worker.begin(together[0][0])
    play.step()
    worker.die()
    play.worker("w", slots=4).channel.consume(type_queue(PREFIX, "step"), 1000)
    play.step(15)
    suspects = {message.task for message, _ in play.workers[-1].held.values() if message.careful}
    assert suspects.issuperset(together[0])
    assert all(len(names) == 1 for names in deliveries(play.workers[-1]).values() if suspects.intersection(names))
