"""Permits that workers ask of their leader."""

from __future__ import annotations

import pytest

from tests.played_fleet import PlayedFleet, PlayedWorker
from wlmctl.host import this_process
from wlmctl.message import (
    AskMessage,
    CloseIdleMessage,
    GrantMessage,
    PermitsBackMessage,
)
from wlmctl.store import permits
from wlmctl.traffic import SHARE


def ask(worker: PlayedWorker, token: str, limit: int = 1, priority: int = 0, name: str = "me@m:22") -> None:
    """The worker wants a connection, or what else has this name."""
    worker.say(AskMessage(worker.id, token, name, limit, priority=priority))


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


def test_idle_connections_are_asked_back_for_a_process_that_is_no_worker(play: PlayedFleet) -> None:
    worker = play.worker("w")
    play.step()
    ask(worker, "a")
    play.step(2)
    assert not any(isinstance(order, CloseIdleMessage) for order in worker.orders)
    own, other = permits.Permits(play.others.url), permits.Permits(play.others.url)
    looks = iter(range(100))

    def give_up_when_asked() -> None:
        play.step(1)
        if any(isinstance(order, CloseIdleMessage) for order in worker.orders):
            raise InterruptedError
        assert next(looks, None) is not None, "the worker is never asked"

    with pytest.raises(InterruptedError):
        own.acquire("me@m:22", 1, give_up_when_asked)
    worker.say(PermitsBackMessage(worker.id, ["a"]))
    play.step(1)
    token = other.acquire("me@m:22", 1, lambda: None)
    own.release(token)
    assert play.others.rows("SELECT login FROM permits") == [], "nor does anybody wait"


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


def test_a_higher_priority_gets_the_next_permit_and_among_equals_who_came_first(play: PlayedFleet) -> None:
    workers = [play.worker(name) for name in "uvwxy"]
    play.step()
    for worker, token, priority in zip(workers, "abcde", (4, 2, 4, 8, 4), strict=True):
        ask(worker, token, priority=priority)
        play.step()
    order = []
    for _ in workers:
        (token,) = [each for worker in workers for each in granted(worker) if each not in order]
        order.append(token)
        worker = workers["abcde".index(token)]
        worker.say(PermitsBackMessage(worker.id, [token]))
        play.step(1)
    assert order == ["a", "d", "c", "e", "b"]


def sharing(worker: PlayedWorker) -> list[int]:
    """Among how many it was told that the bandwidth is divided."""
    return [n for order in worker.orders if isinstance(order, GrantMessage) for n in order.sharing.values()]


def test_who_shares_a_bandwidth_is_told_among_how_many_whenever_that_changes(play: PlayedFleet) -> None:
    first, second, name = play.worker("v"), play.worker("w"), SHARE + "me@m:22"
    play.step()
    ask(first, "a", 1000, name=name)
    play.step(1)
    assert (granted(first), sharing(first)) == (["a"], [1])
    ask(second, "b", 1000, name=name)
    first.permits, second.permits = ["a"], ["b"]
    play.step(1)
    assert (sharing(first), sharing(second)) == ([1, 2], [2])
    with play.others.transaction():
        assert permits.take(play.others, "copy", name, 1000, this_process())
    play.step(2)
    assert (sharing(first), sharing(second)) == ([1, 2, 3], [2, 3]), "a process without a leader counts, too"
    with play.others.transaction():
        permits.give_back(play.others, ["copy"])
    first.permits = []
    first.say(PermitsBackMessage(first.id, ["a"]))
    play.step(2)
    assert sharing(second)[-1] == 1
    assert not any(isinstance(order, CloseIdleMessage) for order in (*first.orders, *second.orders))


def test_a_new_leader_tells_who_shares(play: PlayedFleet) -> None:
    worker, name = play.worker("v"), SHARE + "me@m:22"
    play.step()
    ask(worker, "a", 1000, name=name)
    play.step(1)
    worker.permits = ["a"]
    play.lead()
    play.step(3)
    assert sharing(worker) == [1, 1]
