"""The store: transactions, legal transitions, events that fold to the state, leases, permits, bad files."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading

import pytest

from wlmctl.errors import NoSuch, NotYet, StoreError, UsageError
from wlmctl.experiment.model import Experiment, Template
from wlmctl.states import ExperimentState, TaskState
from wlmctl.store import Database, events, experiments, leases
from wlmctl.store.permits import Permits
from wlmctl.store.record import IllegalTransition, Recorder


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/wlmctl.db"


@pytest.fixture
def db(url):
    with Database(url) as database:
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
            Database(url).close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_the_store_survives_in_wal_mode_with_full_synchronisation(db):
    assert db.row("PRAGMA journal_mode")[0] == "wal"
    assert db.row("PRAGMA synchronous")[0] == 2


def test_an_error_inside_a_transaction_leaves_nothing(db):
    def fail():
        with db.transaction():
            db.execute("INSERT INTO meta VALUES ('x', 'y')")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert db.row("SELECT count(*) FROM meta WHERE key = 'x'")[0] == 0


def test_a_newer_store_is_refused_by_name(url, db):
    db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="its version is 99"):
        Database(url)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "x.db").write_text("not a database at all, but long enough to be looked at as one" * 20)
    with pytest.raises(StoreError, match="no wlmctl store"):
        Database(f"sqlite:///{tmp_path}/x.db")


def test_another_programs_database_is_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "x.db") as other:
        other.execute("CREATE TABLE t (a)")
    with pytest.raises(StoreError, match="another program"):
        Database(f"sqlite:///{tmp_path}/x.db")


def test_a_store_url_says_what_is_wrong_with_it():
    with pytest.raises(NotYet):
        Database("postgresql://h/db")
    with pytest.raises(UsageError, match="sqlite:///PATH"):
        Database("wlmctl.db")


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


def test_filters_choose_experiments(db):
    add(db, "pi-abcdef", labels=("a", "site=b"))
    add(db, "pi-abczzz")
    assert [row.id for row in experiments.select(db)] == ["pi-abczzz", "pi-abcdef"]
    assert [row.id for row in experiments.select(db, labels=["site=b"])] == ["pi-abcdef"]
    assert experiments.select(db, labels=["site"]) == []
    assert len(experiments.select(db, name="p?", states=["running"], since_s=50.0)) == 2
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
    with Database(url) as other, other.transaction():
        assert leases.take(other, "x", expect=None) is None
    leases.check(db, lease)


def test_a_lease_of_a_process_that_is_gone_is_taken_at_once(db, url):
    code = (
        "import sys\nfrom wlmctl.store import Database, leases\n"
        "db = Database(sys.argv[1])\nwith db.transaction(): leases.take(db, 'x', expect=None)\n"
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
