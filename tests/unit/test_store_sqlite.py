"""The store in one SQLite file: its durability, and files that are no store."""

from __future__ import annotations

import pytest

from wlmctl.errors import StoreError, UsageError
from wlmctl.store import open_database
from wlmctl.store.permits import Permits


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
