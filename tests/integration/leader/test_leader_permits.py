"""Permits that workers ask of their leader."""

from __future__ import annotations

from tests.played_fleet import PlayedFleet, PlayedWorker
from wlmctl.host import this_process
from wlmctl.message import (
    AskMessage,
    CloseIdleMessage,
    GrantMessage,
    PermitsBackMessage,
)
from wlmctl.store import permits


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
