"""PostgreSQL that refuses, dies, stops and comes back: what is told, what waits, and what a lost answer meant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext

import pytest

from tests.services.own_postgres import server, url
from tests.services.postgres import PASSWORD
from wlmctl.errors import CommitInDoubt, StoreError, StoreOutage
from wlmctl.machine import Reference
from wlmctl.store import leases, open_database, opening
from wlmctl.store.patience import Patience, for_seconds
from wlmctl.store.permits import Permits
from wlmctl.store.postgres_connection import IDLE_TIMEOUT_S

__all__ = ["server", "url"]


def refusal(url, password=None):
    with pytest.raises(StoreError) as raised:
        open_database(url, password)
    assert "\n" not in str(raised.value)
    assert PASSWORD not in str(raised.value)
    return raised.value


def test_a_server_that_is_not_there_is_an_outage_in_one_line(server, url):
    nowhere = "postgresql://wlm@127.0.0.1:1/x"
    error = refusal(nowhere)
    assert isinstance(error, StoreOutage)
    assert str(error).startswith(f"store {nowhere}: it does not answer: ")


@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_wrong_password_is_refused_at_once_and_not_waited_for(server, url, password):
    error = refusal(server.lab_url(url, None), password)
    assert not isinstance(error, StoreOutage)
    assert "password" in str(error)


def test_a_database_or_a_user_that_is_not_there_is_named(server, url):
    error = refusal(server.url("nowhere"))
    assert not isinstance(error, StoreOutage)
    assert "there is no such database" in str(error)
    error = refusal(url.replace("wlm@", "nobody-here@"))
    assert not isinstance(error, StoreOutage)
    assert "there is no such user" in str(error)


def test_a_password_comes_by_reference_and_is_asked_for_once(server, url, tmp_path):
    server.execute("GRANT ALL ON SCHEMA public TO lab", url.partition("?")[0].rpartition("/")[2])
    asked = tmp_path / "asked"
    command = Reference("command", f"echo x >> {asked}; echo '{PASSWORD}'")
    for _ in range(2):
        with open_database(server.lab_url(url, None), command) as db:
            assert db.store_id
    assert asked.read_text() == "x\n"


def test_a_user_who_may_not_make_tables_is_told_so(server, url):
    error = refusal(server.lab_url(url, None), PASSWORD)
    assert "this user may not use it" in str(error)


def test_a_database_in_another_encoding_is_refused(server, url):
    server.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    assert "--encoding=UTF8" in str(refusal(server.url("latin")))


def test_reads_and_transactions_go_on_after_a_restart_of_the_server(server, url):
    with open_database(url) as db:
        before, store_id = db.data_version(), db.store_id
        server.stop()
        with pytest.raises(StoreOutage):
            db.row("SELECT 1")
        server.start()
        assert db.store_id == store_id
        assert db.data_version() != before, "whatever was read before must be read again"
        server.stop()
        server.start()
        with db.transaction():
            db.execute("INSERT INTO meta VALUES ('x', 'y')")
        assert db.row("SELECT value FROM meta WHERE key = 'x'")[0] == "y"


def test_who_has_patience_waits_for_the_server_and_says_so_once(server, url):
    said: list[str] = []
    with open_database(url) as db:
        db.patience = Patience(for_seconds(120), said.append)
        server.stop(signal.SIGKILL)
        starting = threading.Timer(1.0, server.start)
        starting.start()
        assert db.row("SELECT count(*) FROM experiments")[0] == 0
        starting.join()
    assert len(said) == 1
    assert said[0].endswith("waiting for it")


def test_a_transaction_that_the_server_loses_is_gone_and_an_outage(server, url):
    def write(db):
        with db.transaction():
            db.execute("INSERT INTO meta VALUES ('x', 'y')")
            server.stop(signal.SIGKILL)
            db.execute("INSERT INTO meta VALUES ('z', 'y')")

    with open_database(url) as db:
        with pytest.raises(StoreOutage):
            write(db)
        server.start()
        assert db.row("SELECT count(*) FROM meta WHERE key IN ('x', 'z')")[0] == 0


def write_and_lose_the_answer(db, lose):
    """A transaction whose answer to COMMIT does not come, since ``lose`` ends the connection instead."""
    run = db._run

    def cut(sql, values=()):
        if sql != "COMMIT":
            return run(sql, values)
        db._run = run
        lose()
        return run("SELECT 1")

    db._run = cut
    with db.transaction():
        db.execute("INSERT INTO meta VALUES ('x', 'y')")


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_lost_answer_to_a_commit_is_asked_for_again(server, url, when):
    def lose():
        if when == "after":
            db._connection.execute("COMMIT")
        server.execute(f"SELECT pg_terminate_backend({db._connection.info.backend_pid}, 60000)")

    with open_database(url) as db:
        with nullcontext() if when == "after" else pytest.raises(StoreOutage):
            write_and_lose_the_answer(db, lose)
        assert db.row("SELECT count(*) FROM meta WHERE key = 'x'")[0] == int(when == "after")


def write_others(url, count):
    with open_database(url) as other:
        for number in range(count):
            with other.transaction():
                other.execute("UPDATE meta SET value = ? WHERE key = 'other'", (str(number),))
                other.execute("INSERT INTO meta VALUES ('other', 'z') ON CONFLICT DO NOTHING")


@pytest.mark.parametrize("others", [0, 3])
def test_a_transaction_that_a_killed_server_lost_is_not_taken_for_another_that_got_its_number(server, url, others):
    def lose():
        numbers.append(number_of(db))
        server.stop(signal.SIGKILL)
        server.start()
        write_others(url, others)

    def number_of(db):
        return db._connection.execute("SELECT txid_current()").fetchone()[0]

    numbers = []
    with open_database(url) as db:
        with pytest.raises(StoreOutage):
            write_and_lose_the_answer(db, lose)
        assert db.row("SELECT count(*) FROM meta WHERE key = 'x'")[0] == 0
        with db.transaction():
            assert number_of(db) <= numbers[0] + others, "the number was given again"


def test_where_too_many_have_written_since_nobody_knows_whether_a_commit_arrived(server, url):
    def lose():
        server.execute(f"SELECT pg_terminate_backend({db._connection.info.backend_pid}, 60000)")
        write_others(url, 70)

    with open_database(url) as db, pytest.raises(CommitInDoubt):
        write_and_lose_the_answer(db, lose)


def test_a_writer_that_is_stopped_inside_its_transaction_loses_the_lock_within_seconds(server, url):
    code = (
        "import os, signal, sys\nfrom wlmctl.store import open_database\n"
        "db = open_database(sys.argv[1])\n"
        "with db.transaction():\n"
        "    db.execute(\"INSERT INTO meta VALUES ('x', 'y')\")\n"
        "    print('inside', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True)
    try:
        with open_database(url) as db:
            assert process.stdout is not None
            assert process.stdout.readline() == "inside\n"
            start = time.monotonic()
            with db.transaction():
                assert db.row("SELECT count(*) FROM meta WHERE key = 'x'")[0] == 0
            assert time.monotonic() - start < 5 * IDLE_TIMEOUT_S
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(60) == 1, "its commit must fail"
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def test_a_server_that_is_stopped_holds_everything_up_and_loses_nothing(server, url):
    with open_database(url) as db:
        pid = db._connection.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(0.5, os.kill, (pid, signal.SIGCONT)).start()
        with db.transaction():
            db.execute("INSERT INTO meta VALUES ('x', 'y')")
        assert db.row("SELECT value FROM meta WHERE key = 'x'")[0] == "y"


def test_a_lease_does_not_run_out_while_nobody_could_renew_it(server, url, monkeypatch):
    monkeypatch.setattr(leases, "TERM_S", 3.0)
    with open_database(url) as db, open_database(url) as standby:
        for each in (db, standby):
            each.patience = Patience(for_seconds(120), lambda _: None)
        with db.transaction():
            lease = leases.take(db, "x", expect=None)
        stop = threading.Event()

        def beat():
            while not stop.wait(0.2):
                try:
                    with db.transaction():
                        leases.beat(db, lease)
                except StoreOutage:
                    continue

        class Enough(Exception):
            pass

        deadline = time.monotonic() + 7.5

        def check():
            if time.monotonic() > deadline:
                raise Enough

        thread = threading.Thread(target=beat)
        outage = [threading.Timer(0.5, server.stop), threading.Timer(4.5, server.start)]
        thread.start()
        try:
            for timer in outage:
                timer.start()
            with pytest.raises(Enough):
                leases.wait_and_take(standby, "x", check=check)
        finally:
            stop.set()
            for each in (thread, *outage):
                each.join()


def test_a_permit_is_given_back_when_the_server_is_there_again(server, url):
    permits = Permits(url)
    token = permits.acquire("login", 1, lambda: None)
    server.stop()
    permits.release(token)
    server.start()
    assert permits.acquire("login", 1, lambda: None)


def test_a_permit_is_waited_for_while_the_server_is_away(server, url):
    permits = Permits(url)
    permits.release(permits.acquire("login", 1, lambda: None))
    server.stop()
    starting = threading.Timer(0.5, server.start)
    starting.start()
    assert permits.acquire("login", 1, lambda: None)
    starting.join()


def test_without_psycopg_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "wlmctl.store.postgres", None)
    with pytest.raises(StoreError, match=r"pip install 'wlmctl\[postgres\]'"):
        opening.open_database("postgresql://h/d")


def test_a_server_that_dies_while_rows_are_pulled_is_an_outage_whenever_they_are_given_up(server, url):
    def give_up():
        with open_database(url) as db, db.transaction():
            rows = db.pull("SELECT generate_series(1, 5000)")
            assert next(rows)[0] == 1
            server.stop(signal.SIGQUIT)
            rows.close()

    with pytest.raises(StoreOutage):
        give_up()
