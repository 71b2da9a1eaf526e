"""Who works on a store in PostgreSQL hears at once that others have committed, and looks often while it does not."""

from __future__ import annotations

import queue
import time
from contextlib import suppress

import pytest

from tests.services.own_postgres import server, url
from tests.waiting import wait_until
from wlmctl.store import open_database

LISTENERS = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"

__all__ = ["server", "url"]


def write(db, value):
    with db.transaction():
        db.execute(
            "INSERT INTO meta VALUES ('x', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (str(value),)
        )


def heard(told):
    """Forget what was told so far, once it is known that all of it has come."""
    while True:
        try:
            told.get(timeout=1)
        except queue.Empty:
            return


def listens(db, told):
    """Return when a commit of its own has been heard, as a leader's first ones are."""

    def is_told():
        write(db, time.monotonic())
        return db.look_s > 0.005

    wait_until(is_told, "the listening connection hears a commit")
    heard(told)


def test_a_commit_of_another_is_told_and_an_own_one_is_not(url):
    told = queue.SimpleQueue()
    with open_database(url) as db, open_database(url) as other:
        with db.listening(lambda: told.put(time.monotonic())):
            listens(db, told)
            write(other, 1)
            told.get(timeout=30)
            write(db, 2)
            with pytest.raises(queue.Empty):
                told.get(timeout=0.3)
        write(other, 3)
        assert told.empty()
        wait_until(lambda: other.rows(LISTENERS) == [], "the server ends the connection that nobody listens on")


def test_a_rolled_back_transaction_is_not_told(url):
    told = queue.SimpleQueue()
    with open_database(url) as db, open_database(url) as other, db.listening(lambda: told.put(None)):
        listens(db, told)
        with suppress(ZeroDivisionError), other.transaction():
            other.execute("INSERT INTO meta VALUES ('y', '1')")
            raise ZeroDivisionError
        with pytest.raises(queue.Empty):
            told.get(timeout=0.3)


def test_who_has_lost_the_listening_connection_looks_often_and_listens_again(server, url):
    told = queue.SimpleQueue()
    with open_database(url) as db, open_database(url) as other, db.listening(lambda: told.put(None)):
        assert db.look_s == 0.005
        listens(db, told)
        assert db.look_s == 0.02
        [(first,)] = other.rows(LISTENERS)
        server.execute(f"SELECT pg_terminate_backend({first})")
        wait_until(lambda: db.look_s == 0.005, "it looks often again")
        wait_until(lambda: other.rows(LISTENERS) not in ([], [(first,)]), "it listens on a new connection")
        listens(db, told)
        write(other, 4)
        told.get(timeout=30)


def test_who_is_told_that_others_need_not_hear_of_it_commits_in_silence(url):
    told = queue.SimpleQueue()
    with open_database(url) as db, open_database(url) as other, db.listening(lambda: told.put(None)):
        listens(db, told)
        other.tells = False
        before = db.data_version()
        write(other, 5)
        with pytest.raises(queue.Empty):
            told.get(timeout=0.3)
        assert db.data_version() != before
