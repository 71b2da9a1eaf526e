"""The connection pool, with transports that only know whether they are open."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest

from tests.waiting import wait_until
from wlmctl.connections import ConnectionPool
from wlmctl.errors import Broken, Cancelled, NotFound, Unreachable
from wlmctl.in_use import InUse, soon
from wlmctl.machine import Machine
from wlmctl.transport import Transport

NAS = Machine("nas", host="nas", max_connections=2)


class FakeTransport:
    def __init__(self, machine: Machine) -> None:
        self.machine, self.is_open, self.server_lives = machine, True, True

    def alive(self) -> bool:
        return self.server_lives

    def close(self) -> None:
        self.is_open = False

    def __enter__(self) -> FakeTransport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Opened:
    """Counts what was opened, and opens it."""

    def __init__(self) -> None:
        self.all: list[FakeTransport] = []

    def __call__(self, machine: Machine) -> Transport:
        self.all.append(FakeTransport(machine))
        return cast(Transport, self.all[-1])

    @property
    def open_now(self) -> int:
        return sum(transport.is_open for transport in self.all)


class FakeBudget:
    def __init__(self) -> None:
        self.held: list[str] = []
        self.commands: list[tuple[str, int]] = []

    def acquire(self, name: str, limit: int, check: Callable[[], None], priority: int = 0) -> Any:
        while self.held.count(name) >= limit:
            time.sleep(0.01)
            check()
        self.held.append(name)
        return name

    def sharing(self, name: str) -> int:
        return self.held.count(name)

    def release(self, token: Any) -> None:
        self.held.remove(token)

    def command(self, login: str, per_minute: int, check: Callable[[], None]) -> None:
        self.commands.append((login, per_minute))


@pytest.fixture
def opened() -> Opened:
    return Opened()


@pytest.fixture
def budget() -> FakeBudget:
    return FakeBudget()


@pytest.fixture
def pool(opened: Opened, budget: FakeBudget) -> ConnectionPool:
    return ConnectionPool(opened, idle_s=0, budget=budget, login_of=lambda machine: f"me@{machine.host}:22")


def test_an_idle_connection_is_used_again(pool: ConnectionPool, opened: Opened) -> None:
    for _ in range(5):
        with pool.lease(NAS):
            assert opened.open_now == 1
    assert len(opened.all) == 1


def test_two_users_get_two_connections(pool: ConnectionPool, opened: Opened) -> None:
    with pool.lease(NAS) as one, pool.lease(NAS) as other:
        assert one is not other


@pytest.mark.parametrize("error", [Broken, Unreachable])
def test_a_connection_that_broke_is_closed_and_not_used_again(
    pool: ConnectionPool, opened: Opened, budget: FakeBudget, error: type[Exception]
) -> None:
    with pytest.raises(error), pool.lease(NAS):
        raise error("gone")
    assert opened.open_now == 0
    assert budget.held == []


def test_an_error_about_a_path_keeps_the_connection(pool: ConnectionPool, opened: Opened) -> None:
    with pytest.raises(NotFound), pool.lease(NAS):
        raise NotFound("/x")
    with pool.lease(NAS):
        assert len(opened.all) == 1


def test_an_idle_connection_whose_server_was_restarted_is_replaced(pool: ConnectionPool, opened: Opened) -> None:
    with pool.lease(NAS):
        pass
    opened.all[0].server_lives = False
    with pool.lease(NAS) as transport:
        assert transport is cast(Transport, opened.all[1])
    assert not opened.all[0].is_open


def test_no_more_are_open_than_the_machine_allows_and_who_waits_gets_the_next(
    pool: ConnectionPool, opened: Opened
) -> None:
    most, lock, in_use, release = [0], threading.Lock(), [0], threading.Event()

    def use() -> None:
        with pool.lease(NAS):
            with lock:
                in_use[0] += 1
                most[0] = max(most[0], in_use[0])
            release.wait(60)
            with lock:
                in_use[0] -= 1

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_until(lambda: in_use[0] == 2, "two connections are in use")
    release.set()
    for thread in threads:
        thread.join(60)
    assert most[0] == 2
    assert len(opened.all) == 2


def test_names_of_one_login_share_its_limit(pool: ConnectionPool, opened: Opened) -> None:
    other_name = replace(NAS, name="nas-by-scp", transport="scp")
    with pool.lease(NAS), pool.lease(other_name):
        calls = []

        def check() -> None:
            calls.append(1)
            if len(calls) > 2:
                raise Cancelled("stop waiting")

        with pytest.raises(Cancelled), pool.lease(NAS, check):
            pass
    assert opened.open_now == 2


def test_an_idle_connection_of_another_transport_makes_room(pool: ConnectionPool, opened: Opened) -> None:
    only_one = replace(NAS, max_connections=1)
    with pool.lease(only_one):
        pass
    with pool.lease(replace(only_one, transport="scp")):
        assert opened.open_now == 1


def test_a_failed_opening_gives_everything_back(budget: FakeBudget) -> None:
    def refuse(machine: Machine) -> Transport:
        raise Unreachable("no answer")

    pool = ConnectionPool(refuse, budget=budget, login_of=lambda machine: "x")
    for _ in range(5):
        with pytest.raises(Unreachable), pool.lease(NAS):
            pass
    assert budget.held == []


def test_a_permit_is_held_as_long_as_the_connection_is_open(
    pool: ConnectionPool, opened: Opened, budget: FakeBudget
) -> None:
    with pool.lease(NAS):
        pass
    assert budget.held == ["me@nas:22"]
    pool.close_idle()
    assert budget.held == []
    assert opened.open_now == 0


def test_idle_connections_live_for_their_time(opened: Opened) -> None:
    pool = ConnectionPool(opened, idle_s=60, login_of=lambda machine: "x")
    with pool.lease(NAS):
        pass
    pool.close_idle()
    assert opened.open_now == 1


def test_what_is_in_use_at_close_all_is_closed_when_it_comes_back(pool: ConnectionPool, opened: Opened) -> None:
    with pool.lease(NAS):
        pool.close_all()
        assert opened.open_now == 1
    assert opened.open_now == 0


def test_this_host_is_not_pooled(pool: ConnectionPool, opened: Opened, budget: FakeBudget) -> None:
    local = Machine("local")
    with pool.lease(local), pool.lease(local), pool.lease(local):
        assert opened.open_now == 3
    assert opened.open_now == 0
    assert budget.held == []


def test_each_use_and_each_login_count_as_a_command_of_the_machine(
    pool: ConnectionPool, opened: Opened, budget: FakeBudget
) -> None:
    limited = replace(NAS, logins=("other",), commands_per_minute=60)
    with pool.lease(limited):
        assert budget.commands == [("me@nas:22", 60)] * 2
    with pool.lease(limited):
        assert budget.commands == [("me@nas:22", 60)] * 3, "it is logged in already"
    opened.all[0].server_lives = False
    with pool.lease(limited):
        assert budget.commands == [("me@nas:22", 60)] * 5
    with pool.lease(NAS):
        assert len(budget.commands) == 5, "no limit, nothing to count"


def test_commands_on_another_login_node_count_for_the_machine(budget: FakeBudget) -> None:
    def opens(node: Machine) -> Transport:
        if node.host == "nas":
            raise Unreachable("no answer")
        return cast(Transport, FakeTransport(node))

    pool = ConnectionPool(opens, budget=budget, login_of=lambda machine: f"me@{machine.host}:22")
    with pool.lease(replace(NAS, logins=("other",), commands_per_minute=60)):
        assert budget.held == ["me@other:22"]
    assert budget.commands == [("me@nas:22", 60)] * 3, "a use, a login in vain and one that succeeds"


def test_a_permit_alone_is_held_within_the_with(pool: ConnectionPool, opened: Opened, budget: FakeBudget) -> None:
    with pool.permit(NAS):
        assert budget.held == ["me@nas:22"]
    assert budget.held == []
    assert opened.all == []


def test_of_those_who_wait_the_highest_priority_gets_the_next_connection(opened: Opened) -> None:
    pool, order = ConnectionPool(opened, login_of=lambda machine: "x"), list[str]()
    one = replace(NAS, max_connections=1)

    def use(name: str, priority: int) -> None:
        with pool.lease(one, priority=priority):
            order.append(name)

    def waits(count: int) -> bool:
        return len(pool._logins["x"].line) == count

    with pool.lease(one):
        threads = []
        for count, (name, priority) in enumerate((("low", 2), ("first", 4), ("second", 4), ("high", 8)), 1):
            threads.append(threading.Thread(target=use, args=(name, priority)))
            threads[-1].start()
            wait_until(partial(waits, count), "it is in the line")
    for thread in threads:
        thread.join(60)
    assert order == ["high", "first", "second", "low"]
    assert len(opened.all) == 1


def test_a_connection_that_was_broken_off_is_not_lent_again(
    pool: ConnectionPool, opened: Opened, budget: FakeBudget
) -> None:
    in_use = InUse(pool.break_off)
    with pool.lease(NAS) as transport, in_use.using(transport):
        in_use.close()
        assert not opened.all[0].is_open
    assert in_use.is_broken_off
    assert budget.held == []
    with pool.lease(NAS):
        assert len(opened.all) == 2


def test_what_is_not_in_use_any_more_is_not_closed(pool: ConnectionPool, opened: Opened) -> None:
    in_use = InUse(pool.break_off)
    with pool.lease(NAS) as transport:
        with in_use.using(transport):
            pass
        in_use.close()
        assert opened.all[0].is_open
    assert not in_use.is_broken_off


def test_a_connection_that_comes_too_late_goes_back_and_nobody_waits_for_it(opened: Opened) -> None:
    answer = threading.Event()

    def late(machine: Machine) -> Transport:
        answer.wait(60)
        return opened(machine)

    pool = ConnectionPool(late, login_of=lambda machine: "x")
    with pytest.raises(Unreachable, match=r"no connection within 0\.05 s"), soon(pool.lease(NAS), 0.05):
        pass
    answer.set()
    wait_until(lambda: pool._logins["x"].idle, "it is given back")
    with soon(pool.lease(NAS), 60) as transport:
        assert transport is cast(Transport, opened.all[0])
