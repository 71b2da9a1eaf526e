"""The ends of a copy are reached at the same time, each machine once."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import click
import pytest

from wlmctl.cli import copy_ends
from wlmctl.connections import ConnectionPool
from wlmctl.in_use import InUse
from wlmctl.machine import Machine


@pytest.fixture
def ends_over(monkeypatch: pytest.MonkeyPatch):
    """Ends whose machines, of any name, are logged in to by ``login``."""

    def made(login) -> copy_ends.Ends:
        config = SimpleNamespace(machine=lambda name: Machine(name, host=name))
        monkeypatch.setattr(copy_ends, "with_all_machines", lambda ctx: config)
        pool = ConnectionPool(login, login_of=lambda machine: machine.name)
        return copy_ends.Ends(click.Context(click.Command("copy")), pool, lambda: None, InUse(pool.break_off))

    return made


def transport(home: str) -> Any:
    return SimpleNamespace(home=lambda: home, close=lambda: None)


def test_both_machines_of_a_copy_are_logged_in_to_at_the_same_time(ends_over) -> None:
    both = threading.Barrier(2)

    def login(machine: Machine) -> Any:
        both.wait(60)  # broken where one login waits for the other
        return transport(f"/home/{machine.name}")

    source, target = ends_over(login).find([copy_ends.endpoint("alpha:a"), copy_ends.endpoint("beta:b/")])
    assert (source.name, target.name) == ("alpha:/home/alpha/a", "beta:/home/beta/b/")


def test_several_sources_of_one_machine_take_one_login_and_keep_their_order(ends_over) -> None:
    logins: list[str] = []

    def login(machine: Machine) -> Any:
        logins.append(machine.name)
        return transport("/home")

    named = [copy_ends.endpoint(text) for text in ("alpha:z", "beta:y", "alpha:x", "alpha:z", "alpha:to/")]
    names = [end.name for end in ends_over(login).find(named)]
    assert names == ["alpha:/home/z", "beta:/home/y", "alpha:/home/x", "alpha:/home/z", "alpha:/home/to/"]
    assert sorted(logins) == ["alpha", "beta"]
