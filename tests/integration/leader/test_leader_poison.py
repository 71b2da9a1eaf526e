"""Tasks that kill their workers, and those that only were beside them."""

from __future__ import annotations

from dataclasses import replace

from tests.played_fleet import PlayedFleet

ONE = "tasks: {a: {type: step}}"
THREE = "tasks: {a: {type: step, foreach: {n: 1..3}}}"


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


def test_what_is_begun_together_is_blamed_for_no_death_and_begun_for_itself_after_three(play: PlayedFleet) -> None:
    seq = play.submit(THREE)
    careful = list[set[bool]]()
    for number in range(4):
        worker = play.worker(f"v{number}", slots=3)
        play.step(4)
        careful.append({worker.begin(name).careful for name in worker.names()})
        worker.info = replace(worker.info, slots=1)  # as where many of one machine are started by one command
        play.step(1)
        worker.die()
    assert careful == [{False}, {False}, {False}, {True}]
    assert {row.kills for row in play.rows(seq).values()} == {0}


def test_what_is_to_be_announced_before_it_begins_is_so_under_the_next_leader_too(play: PlayedFleet) -> None:
    worker = play.worker("v")
    seq = play.submit(THREE)
    play.step(1)
    worker.die()
    play.step(4)  # nobody is there to have them again
    assert {row.careful for row in play.rows(seq).values()} == {1}
    play.lead()
    other = play.worker("w")
    play.step(4)
    assert sorted(other.names()) == ["a[1]", "a[2]", "a[3]"]
    assert {message.careful for message, _ in other.held.values()} == {True}


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
