"""Leases of long steps, and what a new leader knows of the one before."""

from __future__ import annotations

from collections.abc import Callable

from tests.played_fleet import PlayedFleet

ONE = "tasks: {a: {type: step}}"
THREE = "tasks: {a: {type: step, foreach: {n: 1..3}}}"

Start = Callable[..., PlayedFleet]


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
