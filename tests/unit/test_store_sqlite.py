"""The store in one SQLite file: its durability, and files that are no store."""

from __future__ import annotations

import contextlib

import pytest

from wlmctl.errors import Cancelled, CommitInDoubt, StoreError, UsageError
from wlmctl.store import open_database
from wlmctl.store.permits import Permits, take_command


def test_the_store_survives_in_wal_mode_with_full_synchronisation(tmp_path):
    with open_database(f"sqlite:///{tmp_path}/wlmctl.db") as db:
        assert db.row("PRAGMA journal_mode")[0] == "wal"
        assert db.row("PRAGMA synchronous")[0] == 2


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "x.db").write_text("not a database at all, but long enough to be looked at as one" * 20)
    with pytest.raises(StoreError, match="no wlmctl store"):
        open_database(f"sqlite:///{tmp_path}/x.db")


def test_a_store_url_says_what_is_wrong_with_it():
    with pytest.raises(UsageError, match="sqlite:///PATH or postgresql://"):
        open_database("wlmctl.db")


@pytest.fixture
def refusing(tmp_path):
    """Makes permits of a store that takes nothing until ``again`` is called."""
    database = open_database(f"sqlite:///{tmp_path}/wlmctl.db")

    def make(**how):
        permits = Permits(database.url, **how)
        permits._db().execute("PRAGMA query_only = 1")
        return permits, lambda: permits._db().execute("PRAGMA query_only = 0")

    yield make
    database.close()


def test_who_works_for_the_one_that_tells_of_a_store_waits_for_it_whatever_it_refuses(refusing):
    permits, again = refusing(is_lasting=True)
    permits.release("given back before")
    looks = []

    def check():
        looks.append(1)
        if len(looks) == 2:
            again()

    assert permits.acquire("login", 1, check)
    assert len(looks) >= 2, "it was refused when it was asked for"


def test_a_command_is_told_that_its_store_takes_nothing(refusing):
    permits, _ = refusing()
    with pytest.raises(StoreError, match="read-only"):
        permits.acquire("login", 1, lambda: None)


def test_a_permit_of_which_nobody_knows_goes_back_when_who_asked_for_it_gives_up(tmp_path, monkeypatch):
    permits = Permits(f"sqlite:///{tmp_path}/wlmctl.db")
    database = permits._db()
    transaction = database.transaction

    @contextlib.contextmanager
    def in_doubt():
        with transaction():
            yield
        raise CommitInDoubt("the connection was lost")

    def give_up():
        raise Cancelled("cancelled")

    monkeypatch.setattr(database, "transaction", in_doubt)
    with pytest.raises(Cancelled):
        permits.acquire("login", 1, give_up)
    monkeypatch.undo()
    assert permits.acquire("login", 1, give_up)


def test_commands_that_a_wrong_clock_has_put_into_the_future_do_not_count_until_then(tmp_path):
    with open_database(f"sqlite:///{tmp_path}/wlmctl.db") as database, database.transaction():
        assert take_command(database, "login", 1, 1e9 + 86_400)
        assert take_command(database, "login", 1, 1e9)
        assert not take_command(database, "login", 1, 1e9 - 1), "a clock may be a little behind another"
