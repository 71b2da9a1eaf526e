"""The contract of the store, the same for SQLite and PostgreSQL: transactions, events, leases, permits, filters."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import psycopg
import pytest

from tests.waiting import wait_until
from wlmctl.errors import NoStore, NoSuch, StoreBusy, StoreError, UsageError
from wlmctl.experiment.model import Experiment, Template
from wlmctl.states import ExperimentState, TaskState
from wlmctl.store import (
    closures,
    events,
    experiments,
    leases,
    listing,
    logs,
    machines,
    open_database,
    progress,
    workers,
)
from wlmctl.store.permits import Permits, wanted
from wlmctl.store.progress import ProgressRow
from wlmctl.store.record import IllegalTransition, Recorder


@pytest.fixture
def url(store_url):
    return store_url


@pytest.fixture
def db(url):
    with open_database(url) as database:
        yield database


def add(db, identifier="pi-abcdef", count=3, key=None, **changes):
    rows = [(str(number),) for number in range(count)]
    experiment = Experiment("pi", (Template("a", "job", {}, keys=("n",), rows=rows),), **changes)
    submission = experiments.Submission(identifier, "me", "host", "name", "run", 100.0, None, "{}", "d", key)
    with db.transaction():
        return experiments.create(db, experiment, submission)


def test_a_store_is_made_by_whoever_comes_first(url):
    errors = []

    def come():
        try:
            open_database(url).close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_an_error_inside_a_transaction_leaves_nothing(db):
    def fail():
        with db.transaction():
            db.execute("INSERT INTO meta VALUES ('x', 'y')")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert db.row("SELECT count(*) FROM meta WHERE key = 'x'")[0] == 0


def test_an_experiment_is_found_by_a_unique_prefix(db):
    add(db, "pi-abcdef")
    add(db, "pi-abczzz")
    assert experiments.find(db, "pi-abcd").id == "pi-abcdef"
    with pytest.raises(UsageError, match="several ids"):
        experiments.find(db, "pi-a")
    with pytest.raises(NoSuch):
        experiments.find(db, "nothing")
    with pytest.raises(NoSuch):
        experiments.find(db, "p_")


def test_a_prefix_means_capitals_and_small_letters_as_they_are(db):
    add(db, "pi-aaaaaa")
    add(db, "pi-bbbbbb")
    for number in range(3):
        add(db, f"PI-{number}zzzzz")
    with pytest.raises(UsageError, match="several ids"):
        experiments.find(db, "pi")
    add(db, "PI-3zzzzz")
    assert experiments.find(db, "pi-a").id == "pi-aaaaaa"


def test_filters_choose_experiments(db):
    add(db, "pi-abcdef", labels=("a", "site=b"))
    add(db, "pi-abczzz")
    assert [row.id for row in experiments.select(db)] == ["pi-abczzz", "pi-abcdef"]
    assert [row.id for row in experiments.select(db, labels=["site=b"])] == ["pi-abcdef"]
    assert experiments.select(db, labels=["site"]) == []
    assert len(experiments.select(db, name="p?", states=["running"], since_s=50.0)) == 2
    assert len(experiments.select(db, name="[p-a][a-g-i]")) == 2, "a range that runs backwards is its first character"
    assert experiments.select(db, name="[z-a]*") == []
    assert experiments.select(db, since_s=200.0) == []


def test_an_illegal_transition_is_a_bug_and_changes_nothing(db):
    seq = add(db)
    recorder = Recorder(db, seq, 1.0)
    with pytest.raises(IllegalTransition):
        recorder.task(0, TaskState.WAITING, TaskState.SUCCEEDED)
    with pytest.raises(IllegalTransition):
        recorder.task(0, TaskState.READY, TaskState.ASSIGNED)
    assert experiments.counts(db, seq) == {"waiting": 3}


def test_the_state_is_the_fold_of_the_events(db):
    seq = add(db)
    with db.transaction():
        recorder = Recorder(db, seq, 101.0)
        recorder.task(0, TaskState.WAITING, TaskState.READY, attempt=1)
        recorder.task(0, TaskState.READY, TaskState.ASSIGNED, dispatch=1, nonce="n", machine="local", cpus=1)
        recorder.task_fields(0, "dispatch", dispatch=2, nonce="m")
        recorder.bind("r", "local")
        recorder.note("held", "away", machine="x")
        recorder.experiment(ExperimentState.RUNNING, ExperimentState.FAILED, ended=5.0, reason="x")
        recorder.flush()
    folded = events.fold(events.events(db, seq))
    row = experiments.task(db, seq, 0)
    assert folded.tasks[0] == {
        "state": "assigned", "attempt": 1, "dispatch": 2, "nonce": "m", "machine": "local", "cpus": 1,
    }  # fmt: skip
    assert all(getattr(row, name) == value for name, value in folded.tasks[0].items())
    assert folded.bindings == experiments.bindings(db, seq) == {"r": "local"}
    stored = experiments.get(db, seq)
    assert (folded.state, folded.fields["ended"]) == (stored.state, stored.ended) == ("failed", 5.0)
    assert [event.n for event in events.events(db, seq)] == list(range(1, stored.events + 1))


def test_a_foreign_change_raises_the_revision(db):
    seq = add(db)
    with db.transaction():
        recorder = Recorder(db, seq, 1.0)
        recorder.experiment_fields("priority", priority=8)
        recorder.flush(foreign=True)
    assert experiments.get(db, seq).revision == 1
    assert experiments.get(db, seq).priority == 8


def test_a_lease_is_taken_once_and_refused_to_others(db, url):
    with db.transaction():
        lease = leases.take(db, "x", expect=None)
    with open_database(url) as other, other.transaction():
        assert leases.take(other, "x", expect=None) is None
    leases.check(db, lease)


def test_a_lease_of_a_process_that_is_gone_is_taken_at_once(db, url):
    code = (
        "import sys\nfrom wlmctl.store import open_database, leases\n"
        "db = open_database(sys.argv[1])\nwith db.transaction(): leases.take(db, 'x', expect=None)\n"
    )
    subprocess.run([sys.executable, "-c", code, url], check=True)
    assert not leases.is_live(db, "x")
    lease = leases.wait_and_take(db, "x", check=lambda: None)
    assert lease.epoch == 2


def test_whoever_lost_a_lease_writes_nothing_more(db):
    with db.transaction():
        old = leases.take(db, "x", expect=None)
        new = leases.take(db, "x", expect=leases.look(db, "x"))
    leases.check(db, new)
    with pytest.raises(leases.LeaseLost):
        leases.check(db, old)
    with pytest.raises(leases.LeaseLost):
        leases.beat(db, old)


def test_a_lease_given_back_is_free_and_its_epoch_goes_on(db):
    with db.transaction():
        leases.give_back(db, leases.take(db, "x", expect=None))
    assert leases.look(db, "x") is None
    with db.transaction():
        assert leases.take(db, "x", expect=None).epoch == 2


def test_permits_are_counted_over_all_who_share_the_store(db, url):
    class Impatient(Exception):
        pass

    def give_up():
        raise Impatient

    first, second = Permits(url), Permits(url)
    token = first.acquire("login", 1, give_up)
    with pytest.raises(Impatient):
        second.acquire("login", 1, give_up)
    first.release(token)
    second.acquire("login", 1, give_up)


def wait_shortly_for_locks(database):
    """A lock that another one has is an error at once."""
    database.execute("SET lock_timeout = '20ms'" if database.url.startswith("post") else "PRAGMA busy_timeout = 20")


def test_a_store_that_another_process_keeps_locked_is_busy(db, url):
    with open_database(url) as other:
        wait_shortly_for_locks(other)
        with db.transaction(), pytest.raises(StoreBusy, match="kept it locked for too long"), other.transaction():
            pass


def test_while_the_store_is_kept_locked_permits_are_waited_for_and_given_back_later(db, url):
    permits, looks = Permits(url), []
    wait_shortly_for_locks(permits._db())
    token = permits.acquire("login", 1, lambda: None)
    with contextlib.ExitStack() as locked:
        locked.enter_context(db.transaction())
        permits.release(token)

        def check():
            looks.append(1)
            if len(looks) == 2:
                locked.close()

        assert permits.acquire("login", 1, check)
    assert len(looks) >= 2, "it was locked when it was asked for"


def test_the_highest_priority_of_a_process_gets_the_next_permit(db, url):
    permits, got = Permits(url), []
    token = permits.acquire("login", 1, lambda: None)

    def want(name, priority):
        mine = permits.acquire("login", 1, lambda: None, priority)
        got.append(name)
        permits.release(mine)

    threads = []
    for number, (name, priority) in enumerate((("low", 2), ("first", 4), ("second", 4), ("high", 8)), 1):
        threads.append(threading.Thread(target=want, args=(name, priority), daemon=True))
        threads[-1].start()
        wait_until(lambda number=number: len(permits._waiting["login"]) == number, "it is in the line")
    permits.release(token)
    for thread in threads:
        thread.join(60)
    assert got == ["high", "first", "second", "low"]


def test_who_shares_a_name_is_counted_without_who_is_gone(db, url):
    first, second = Permits(url), Permits(url)
    tokens = [first.acquire("bandwidth x", 100, lambda: None), second.acquire("bandwidth x", 100, lambda: None)]
    assert first.sharing("bandwidth x") == 2
    code = "import sys\nfrom wlmctl.store.permits import Permits\nPermits(sys.argv[1]).acquire('bandwidth x', 9, int)\n"
    subprocess.run([sys.executable, "-c", code, url], check=True)
    assert second.sharing("bandwidth x") == 2
    first.release(tokens[0])
    assert second.sharing("bandwidth x") == 1


def test_who_waits_for_a_permit_is_known_until_it_has_one_gives_up_or_is_gone(db, url):
    permits, seen = Permits(url), []
    token = permits.acquire("l", 1, lambda: None)

    def look():
        with db.transaction():
            seen.append(wanted(db))
        permits.release(token)

    second = permits.acquire("l", 1, look)
    code = (
        "import os, sys\nfrom wlmctl.store.permits import Permits\n"
        "Permits(sys.argv[1]).acquire('l', 1, lambda: os._exit(9))\n"
    )
    assert subprocess.run([sys.executable, "-c", code, url], check=False).returncode == 9
    assert db.row("SELECT count(*) FROM permits WHERE login = 'wanted l'")[0] == 1
    with db.transaction():
        seen.append(wanted(db))
    assert seen == [["l"], []]
    permits.release(second)
    assert db.rows("SELECT * FROM permits") == []


def test_the_permits_of_a_process_that_is_gone_come_back(db, url):
    code = "import sys\nfrom wlmctl.store.permits import Permits\nPermits(sys.argv[1]).acquire('l', 1, lambda: None)\n"
    subprocess.run([sys.executable, "-c", code, url], check=True)

    def give_up():
        raise AssertionError("no permit")

    assert Permits(url).acquire("l", 1, give_up)


def test_commands_a_minute_are_counted(url, db):
    class Impatient(Exception):
        pass

    def give_up():
        raise Impatient

    permits = Permits(url)
    permits.command("l", 2, give_up)
    permits.command("l", 2, give_up)
    with pytest.raises(Impatient):
        permits.command("l", 2, give_up)


def test_another_commit_changes_the_version_and_an_own_one_does_not(db, url):
    before = db.data_version()
    add(db)
    assert db.data_version() == before
    with open_database(url) as other:
        add(other, "pi-other1")
        assert db.data_version() != before
        seen = db.data_version()
        with other.transaction():
            other.rows("SELECT * FROM experiments")
    assert db.data_version() == seen


def test_a_transaction_sees_what_was_committed_while_it_waited_for_its_turn(db, url):
    before, started, done = db.data_version(), threading.Event(), threading.Event()

    def write():
        with open_database(url) as other, other.transaction():
            started.set()
            other.execute("INSERT INTO meta VALUES ('x', 'y')")
            done.wait(0.3)

    thread = threading.Thread(target=write)
    thread.start()
    assert started.wait(60)
    with db.transaction():
        assert db.row("SELECT value FROM meta WHERE key = 'x'") == ("y",)
        assert db.data_version() != before
    thread.join()


def test_what_was_asked_ahead_is_answered_as_if_it_were_asked_then(db, url):
    question = "SELECT value FROM meta WHERE key = ?", ("x",)
    insert = "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    with db.transaction():
        db.execute(insert, ("x", "1"))
    with db.transaction(ahead=[question]):
        assert tuple(db.row(*question)) == ("1",)
        assert tuple(db.row(*question)) == ("1",)
        db.ask_ahead([question])
        db.write(insert, ("x", "2"), AssertionError)
        assert [tuple(row) for row in db.rows(*question)] == [("2",)]
        db.ask_ahead([question])
    with open_database(url) as other, other.transaction():
        other.execute(insert, ("x", "3"))
    with db.transaction():
        assert tuple(db.row(*question)) == ("3",)


def test_transactions_of_many_lose_no_update(db, url):
    with db.transaction():
        db.execute("INSERT INTO meta VALUES ('count', '0')")

    def count():
        with open_database(url) as other:
            for _ in range(25):
                with other.transaction():
                    value = int(other.row("SELECT value FROM meta WHERE key = 'count'")[0])
                    other.execute("UPDATE meta SET value = ? WHERE key = 'count'", (str(value + 1),))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.row("SELECT value FROM meta WHERE key = 'count'")[0] == "100"


def test_a_snapshot_does_not_see_what_is_written_meanwhile(db, url):
    add(db)
    with db.snapshot():
        assert db.row("SELECT count(*) FROM experiments")[0] == 1
        with open_database(url) as other:
            add(other, "pi-other1")
        assert db.row("SELECT count(*) FROM experiments")[0] == 1
    assert db.row("SELECT count(*) FROM experiments")[0] == 2


def test_a_store_that_is_not_there_is_only_made_when_that_is_wanted(new_store):
    url = new_store()
    with pytest.raises(NoStore):
        open_database(url, create=False)
    open_database(url).close()
    open_database(url, create=False).close()


def test_another_programs_database_is_left_alone(db, new_store):
    url = new_store()
    with foreign(url) as other:
        other.execute("CREATE TABLE t (a INTEGER)")
        other.commit()
    with pytest.raises(StoreError, match="another program"):
        open_database(url)


def test_a_newer_store_is_refused_and_an_older_one_says_what_to_type(db, url):
    set_version(db, 99)
    with pytest.raises(StoreError, match=r"its version is 99, .* upgrade wlmctl"):
        open_database(url)
    set_version(db, 1)
    with pytest.raises(StoreError, match=r"its version is 1, .* type: wlmctl db upgrade"):
        open_database(url)


def test_bytes_texts_and_numbers_come_back_as_they_were(db):
    seq = add(db, folder="/data/\udcff", files={"f": bytes(range(256))})
    with db.transaction():
        logs.put(db, seq, 0, 1, b"\x00\xff" * 40_000, b"err")
        db.execute("UPDATE experiments SET created = ?, reason = ? WHERE seq = ?", (1 / 3, "% ? 'ä \\", seq))
    row = experiments.get(db, seq)
    assert (row.created, row.reason, row.folder) == (1 / 3, "% ? 'ä \\", "/data/\udcff")
    assert experiments.files(db, seq) == {"f": bytes(range(256))}
    assert logs.get(db, seq, 0, 1) == ((b"\x00\xff" * 40_000)[-logs.TAIL_BYTES :], b"err")


def test_what_is_no_text_is_the_users_mistake(db):
    with pytest.raises(UsageError, match=r"\\xff.*not UTF-8"):
        experiments.by_key(db, "\udcff")


@pytest.mark.parametrize(
    ("glob", "found"),
    [("p*", True), ("P*", False), ("p?", True), ("p", False), ("[a-p]i", True), ("[^p]i", False), ("*.", False),
     ("[", False), ("", False), ("*(i", False)],
)  # fmt: skip
def test_a_glob_means_the_same_in_each_store(db, glob, found):
    add(db)
    assert bool(experiments.select(db, name=glob)) is found


def test_a_label_is_found_whole_whatever_is_in_it(db):
    add(db, labels=('a"b', "x, y"))
    for label, found in [('a"b', True), ("x, y", True), ("x", False), ('", "', False)]:
        assert bool(experiments.select(db, labels=[label])) is found


def test_instances_are_found_by_the_name_of_their_task(db):
    seq = add(db)
    row = experiments.get(db, seq)
    assert [task.name for task in experiments.tasks_named(db, row, "a", None)] == ["a[0]", "a[1]", "a[2]"]
    assert [task.idx for task in experiments.tasks_named(db, row, "a", "a[1]")] == [1]
    with pytest.raises(NoSuch):
        experiments.tasks_named(db, row, "b", None)


def test_tasks_are_listed_as_json_with_times_of_the_same_form(db):
    seq = add(db)
    with db.transaction():
        db.execute(
            "UPDATE tasks SET started = ?, outputs = ?, reason = ? WHERE exp = ? AND idx = 0",
            (1767323045.678, '{"e": "1", "f": 0.10}', 'a "quoted"\nline', seq),
        )
    first, second, _ = map(json.loads, listing.tasks_json(db, seq))
    assert first["started"] == "2026-01-02T03:04:05.678Z"
    assert (first["outputs"], first["reason"], first["attempt"]) == ({"e": "1", "f": 0.1}, 'a "quoted"\nline', 0)
    assert (second["started"], second["outputs"], second["exit_code"]) == (None, None, None)


def test_counts_and_groups_tell_the_same(db):
    seq, other = add(db), add(db, "pi-other1", count=1)
    assert listing.counts_of_all(db, [seq, other]) == {seq: {"waiting": 3}, other: {"waiting": 1}}
    assert listing.counts_of_all(db, []) == {}
    [(template, name, kind, count)] = listing.groups(db, seq)
    assert (template, name.partition("[")[0], kind, count) == (0, "a", "job", 3)
    assert listing.states_of_group(db, seq, 0) == [("waiting", 3, None)]


def test_a_user_holds_a_machine_beside_what_a_probe_finds(db):
    with db.transaction():
        assert machines.hold(db, "nas", "no route", 1.0, 2.0)
        machines.hold_by_user(db, "nas", "disks", 3.0, "ada", 9.0)
        held = machines.hold_by_user(db, "nas", "new disks", 4.0, "bob", 10.0)
    assert (held.since_s, held.text) == (3.0, "by bob: new disks (until 1970-01-01T00:00:10Z)")
    assert machines.held_by_users(db) == {"nas": held}
    assert machines.holds(db, 9.9)["nas"] == held
    assert machines.holds(db, 10.0)["nas"].text == "no route"
    with db.transaction():
        assert machines.probe_now(db, "nas")
        assert not machines.probe_now(db, "hpc")
        machines.forget_over(db, 9.9)
        assert machines.release(db, "nas")
    assert machines.holds(db, 5.0) == {"nas": held}
    with db.transaction():
        assert machines.release_by_user(db, "nas")
        assert not machines.release_by_user(db, "nas")
    assert machines.holds(db, 5.0) == {}


def test_what_is_written_twice_is_there_once(db):
    seq = add(db)
    with db.transaction():
        for number in range(2):
            logs.put(db, seq, 0, 1, b"%d" % number, b"")
            logs.follow(db, seq, 0, 10.0 + number)
            logs.add_live(db, seq, 0, 1, "stdout", 0, b"x%d" % number)
            machines.touched(db, seq, "nas")
            machines.hold(db, "nas", f"reason {number}", 1.0, 2.0)
    assert logs.get(db, seq, 0, 1) == (b"1", b"")
    assert logs.followed(db, 11.0) == [(seq, 0)]
    assert list(logs.live(db, seq, 0, 1, "stdout", 0)) == [(0, b"x0")]
    assert logs.live_end(db, seq, 0, 1, "stdout") == 2
    assert machines.machines_touched(db, seq) == ["nas"]
    assert machines.holds(db)["nas"].reason == "reason 1"
    with db.transaction():
        experiments.forget(db, seq)
    assert experiments.get(db, seq) is None


def foreign(url):
    if url.startswith("sqlite"):
        return contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///")))
    return psycopg.connect(url)


def set_version(db, version):
    if db.dialect.name == "SQLite":
        db.execute(f"PRAGMA user_version = {version}")
    else:
        db.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (str(version),))


def test_what_is_gathered_of_many_tasks_reaches_the_store_as_it_was_said(db):
    reasons = ['a "quoted" word', "back\\slash", "{a,b}", "", "NULL", None, "ünï ☃", " spaces ", "two\nlines"]
    seq = add(db, count=len(reasons))
    with db.transaction():
        recorder = Recorder(db, seq, 200.0, gather=True)
        for idx, reason in enumerate(reasons):
            recorder.task(idx, TaskState.WAITING, TaskState.SKIPPED, reason=reason, ended=200.5 + idx, cpus=None)
        recorder.flush()
    found = list(experiments.tasks(db, seq))
    assert [row.reason for row in found] == reasons
    assert [row.ended for row in found] == [200.5 + idx for idx in range(len(reasons))]
    assert {row.state for row in found} == {"skipped"}
    assert [event.reason for event in events.events(db, seq) if event.kind == "task"] == reasons


def test_of_many_gathered_tasks_none_is_written_when_one_is_not_as_it_should_be(db):
    seq = add(db, count=3)
    with db.transaction():
        db.execute("UPDATE tasks SET state = 'skipped' WHERE exp = ? AND idx = 1", (seq,))

    def write():
        with db.transaction():
            recorder = Recorder(db, seq, 200.0, gather=True)
            for idx in range(3):
                recorder.task(idx, TaskState.WAITING, TaskState.READY)
            recorder.flush()

    with pytest.raises(IllegalTransition):
        write()
    assert [row.state for row in experiments.tasks(db, seq)] == ["waiting", "skipped", "waiting"]


def test_a_time_has_the_same_milliseconds_in_every_store(db):
    times_s = [1_795_691_733 + (2 * number + 1) / 2000 for number in range(500)]
    select = f"SELECT {db.dialect.rfc3339.format('CAST(? AS DOUBLE PRECISION)')}"
    shown = [db.rows(select, (time_s,))[0][0] for time_s in times_s]
    days_ms = 210_866_760_000_000.0
    rounded_ms = [int(time_s * 1000.0 + days_ms + 0.5) - int(days_ms) for time_s in times_s]
    assert shown == [
        datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ms % 1000:03}Z" for ms in rounded_ms
    ]


def test_a_worker_that_ended_is_remembered_for_a_week(db):
    day_s = 86_400.0
    for number in range(3):
        with db.transaction():
            workers.put(db, f"u.box-{number}", {"name": "box"}, workers.ALIVE, 0.0)
    for number, ended_s in enumerate((1 * day_s, 2 * day_s, 8.5 * day_s)):
        with db.transaction():
            workers.end(db, f"u.box-{number}", workers.GONE, ended_s, "drained")
    assert {row.id for row in workers.rows(db)} == {"u.box-1", "u.box-2"}


def test_a_step_under_way_is_listed_with_how_far_it_is(db):
    seq = add(db, count=2)
    with db.transaction():
        recorder = Recorder(db, seq, 101.0)
        recorder.task(0, TaskState.WAITING, TaskState.READY)
        recorder.task(0, TaskState.READY, TaskState.ASSIGNED, attempt=1)
        recorder.task(0, TaskState.ASSIGNED, TaskState.RUNNING)
        recorder.flush()
        for attempt in (1, 2):
            progress.put(
                db, [ProgressRow(seq, attempt - 1, attempt, "copying", 6 << 40, 8 << 40, 1, 2, 5, 0, 0, 2.5, 7.5, 9.0)]
            )
    first, second = (json.loads(text)["progress"] for text in listing.tasks_json(db, seq))
    assert second is None, "it is not under way"
    assert (first["what"], first["bytes_done"], first["files_total"]) == ("copying", 6 << 40, 2)
    assert (first["rate_bytes_s"], first["left_s"], first["time"]) == (2.5, 7.5, "1970-01-01T00:00:09.000Z")
    assert [row.task for row in progress.of_experiments(db, [seq])] == [0]
    with db.transaction():
        progress.remove(db, [(seq, 0)])
    assert progress.of_experiments(db, [seq]) == []


def test_closures_of_the_newest_kinds_are_kept_and_no_more(db):
    with db.transaction():
        for number in range(closures.MOST + 3):
            closures.add(db, f"worker {number}", "x" * 1000, 1000.0 + number)
        closures.add(db, "worker 5", "x" * 1000, 2000.0)
    found = closures.seen(db)
    assert len(found) == closures.MOST
    assert (found[0].process, found[0].times, len(found[0].reason)) == ("worker 5", 2, closures.REASON_LENGTH)
    assert "worker 0" not in {each.process for each in found}


def test_what_waiting_tasks_were_told_last_and_held_machines_are_read_alike(db):
    seq = add(db, count=2)
    with db.transaction():
        recorder = Recorder(db, seq, 100.0)
        for idx in range(2):
            recorder.task(idx, TaskState.WAITING, TaskState.READY)
        recorder.note("waiting", "no room", 0, tasks=2)
        recorder.note("waiting", "no machine fits", 1, tasks=2)
        recorder.note("held", "it does not answer", machine="nas")
        recorder.flush()
    assert listing.reasons_to_wait(db, seq) == [("a", "no machine fits")]
    assert listing.told_machines(db, seq) == {"nas"}
    assert listing.groups(db, seq) == [(0, "a[0]", "job", 2)]
    assert listing.states_of_group(db, seq, 0) == [("ready", 2, None)]


def test_why_a_large_new_experiment_waits_is_told_at_once(db):
    """Joined in one question, PostgreSQL took minutes while its statistics knew only experiments before it."""

    def make_ready(seq, count):
        with db.transaction():
            recorder = Recorder(db, seq, 100.0)
            for idx in range(count):
                recorder.task(idx, TaskState.WAITING, TaskState.READY)
            recorder.note("waiting", "no room", 0, tasks=count)
            recorder.flush()

    make_ready(add(db, "before-abcdef", count=2000), 2000)
    with db.transaction():
        db.execute("ANALYZE")
    seq = add(db, count=6000)
    make_ready(seq, 6000)
    started_s = time.monotonic()
    assert listing.reasons_to_wait(db, seq) == [("a", "no room")]
    assert time.monotonic() - started_s < 20
