"""The store in one SQLite file: its durability, and files that are no store."""

from __future__ import annotations

import pytest

from wlmctl.errors import StoreError, UsageError
from wlmctl.store import open_database


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
