"""``wlmctl db``: upgrade, check and copy of stores of both kinds; ``doctor`` on PostgreSQL; an outage under a run."""

from __future__ import annotations

import signal
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.services.postgres import PASSWORD, native_server
from tests.stored import put, template
from tests.waiting import wait_until
from wlmctl.store import experiments, logs, open_database
from wlmctl.store.schema import _FIRST, SCHEMA_VERSION, statements

JOBS = (
    "name: jobs\ntasks:\n  j:\n    type: job\n    foreach: {n: 1..%d}\n"
    "    command: 'echo ${n} >> witness; %s; echo out ${n}'\n"
)


@pytest.fixture
def line(tmp_path, store_url):
    """The command line with a store of either kind."""
    line = CommandLine(tmp_path, store_url=store_url)
    settings(line)
    yield line
    line.close()


def settings(line):
    text = f'[machines.local]\nscratch = "{line.folder}/scratch"\ncpus = 4\nshell = "sh"\n'
    line.write("wlmctl.toml", text)


#: Until the test lets it go on.
WAITS = "until [ -e go ]; do sleep 0.1; done"


def url_of(line):
    return line.environ["WLMCTL_STORE"]


def test_a_store_that_is_whole_has_no_findings(line):
    line.run("run", line.write("jobs.yaml", JOBS % (3, "true")))
    found = line.json("db", "check")
    assert (found["findings"], found["experiments"], found["schema_version"]) == ([], 1, SCHEMA_VERSION)
    assert line.run("db", "check").stdout.endswith(f"version {SCHEMA_VERSION}, 1 experiment, 0 findings\n")


@pytest.mark.parametrize(
    ("harm", "finding"),
    [
        ("UPDATE tasks SET state = 'failed' WHERE idx = 1", "state is 'failed', its events say 'succeeded'"),
        ("UPDATE experiments SET state = 'failed'", "its state is failed, its events say succeeded"),
        ("DELETE FROM events WHERE n = 3", "events up to number"),
        ("UPDATE events SET data = '{' WHERE n = 1", "what is stored of it cannot be read: Expecting property name"),
        ("DELETE FROM tasks WHERE idx = 2", "2 tasks, expected 3"),
        ("INSERT INTO bindings VALUES (99, 'r', 'm')", "table bindings: 1 rows belong to no experiment"),
    ],
)
def test_what_is_wrong_in_a_store_is_found_and_named(line, harm, finding):
    states = dict.fromkeys(["j[1]", "j[2]", "j[3]"], "succeeded")
    with open_database(url_of(line)) as db:
        put(db, [template("j", count=3)], states=states, state="succeeded")
        db.execute(harm)
    done = line.run("db", "check", code=1)
    assert finding in done.stdout


def test_an_older_store_is_brought_up_to_date_by_the_command_it_names(tmp_path):
    line = CommandLine(tmp_path)
    line.store.parent.mkdir()
    with sqlite3.connect(line.store) as old:
        old.execute("PRAGMA journal_mode = WAL")
        for statement in statements(_FIRST):
            old.execute(statement)
        old.execute("INSERT INTO meta VALUES ('store_id', 'abc')")
        old.execute("PRAGMA user_version = 1")
    done = line.run("status", code=4)
    assert "wlmctl db upgrade" in done.stderr
    assert done.stderr.count("\n") == 1
    assert line.run("db", "upgrade").stdout == f"{line.store}: version 1 to {SCHEMA_VERSION}\n"
    assert line.run("db", "upgrade").stdout == f"{line.store}: version {SCHEMA_VERSION} already\n"
    assert line.ids() == []
    fresh = CommandLine(tmp_path / "store")
    fresh.run("submit", "-", stdin="name: x\ntasks: {j: {type: job, command: 'true'}}\n")
    assert shape(line.store) == shape(fresh.store)


def shape(path: Path) -> list[tuple[str, str]]:
    """The tables and indexes of a store."""
    with sqlite3.connect(path) as db:
        return sorted(db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


def test_an_upgrade_is_refused_while_a_process_works_on_the_store(line):
    process = line.start("run", line.write("jobs.yaml", JOBS % (1, "sleep 30")))
    wait_until(lambda: (line.folder / "witness").exists(), "the job runs", 60)
    with open_database(url_of(line)) as db:
        set_version(db, 1)
    done = line.run("db", "upgrade", code=4)
    assert "an upgrade is refused while a process works on it" in done.stderr
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130


def set_version(db, version):
    if db.dialect.name == "SQLite":
        db.execute(f"PRAGMA user_version = {version}")
    else:
        db.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (str(version),))


def test_a_store_grows_from_a_file_to_a_server_and_back_and_works_on_there(tmp_path, postgres):
    line = CommandLine(tmp_path)
    settings(line)
    line.run("run", line.write("jobs.yaml", JOBS % (3, "true")))
    (identifier,) = line.ids()
    with open_database(line.environ["WLMCTL_STORE"]) as db, db.transaction():
        seq = experiments.find(db, identifier).seq
        logs.put(db, seq, 0, 7, bytes(range(256)), b"")
    before, events = line.json("status", identifier), line.run("events", identifier, "-o", "json").stdout
    server = postgres.new_database()
    copied = line.json("db", "copy", line.environ["WLMCTL_STORE"], server)
    assert {table["table"]: table["rows"] for table in copied["tables"]}["tasks"] == 3
    there = CommandLine(tmp_path, store_url=server)
    assert there.json("status", identifier) == before
    assert there.run("events", identifier, "-o", "json").stdout == events
    assert there.json("db", "check")["findings"] == []
    assert there.run("logs", identifier, "j:2").stdout.endswith("out 2\n")
    there.run("run", "jobs.yaml")
    assert len(there.ids()) == 2
    back = f"sqlite:///{tmp_path}/back.db"
    assert there.json("db", "copy", server, back)["store_id"] == copied["store_id"]
    home = CommandLine(tmp_path, store_url=back)
    assert home.json("status", *there.ids()) == there.json("status", *there.ids())
    with open_database(back) as db:
        assert logs.get(db, seq, 0, 7) == (bytes(range(256)), b"")
    home.run("run", "jobs.yaml")
    postgres.drop(server)


def test_a_copy_into_a_store_that_is_not_empty_is_refused(line, new_store):
    other = new_store()
    line.write("x.yaml", "name: x\ntasks: {j: {type: job, command: 'true'}}\n")
    line.run("submit", "x.yaml")
    line.run("db", "copy", url_of(line), other)
    done = line.run("db", "copy", url_of(line), other, code=4)
    assert "it is not empty" in done.stderr
    assert line.run("db", "copy", url_of(line), url_of(line), code=2).stderr.count("\n") == 1


def test_a_copy_is_refused_while_a_process_works_on_the_store_and_names_it(line):
    process = line.start("run", line.write("jobs.yaml", JOBS % (1, "sleep 30")))
    wait_until(lambda: (line.folder / "witness").exists(), "the job runs", 60)
    done = line.run("db", "copy", url_of(line), "sqlite:///not-made.db", code=4)
    assert f"a copy is refused while a process works on it (process {process.pid} on this host)" in done.stderr
    assert not (line.folder / "not-made.db").exists()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130


def test_a_file_takes_no_driver_of_the_server_and_the_server_none_of_the_file(line):
    line.run("submit", "-", stdin="name: x\ntasks: {j: {type: job, command: 'true'}}\n")
    line.environ["PYTHONPROFILEIMPORTTIME"] = "1"
    modules = {row.rpartition("|")[2].strip() for row in line.run("status").stderr.splitlines()}
    drivers = {"psycopg", "sqlite3"} & modules
    assert drivers == ({"sqlite3"} if url_of(line).startswith("sqlite") else {"psycopg"})


def test_doctor_tells_the_kind_of_store_and_whether_its_replication_is_synchronous(line):
    line.run("submit", "-", stdin="name: x\ntasks: {j: {type: job, command: 'true'}}\n")
    checks = [check for check in line.json("doctor", code=None)["checks"] if check["name"] == "store"]
    assert {check["level"] for check in checks} <= {"ok", "note"}, checks
    if url_of(line).startswith("sqlite"):
        assert ", SQLite, " in checks[0]["text"]
    else:
        assert ", PostgreSQL 1" in checks[0]["text"]
        assert "no synchronous replication" in checks[1]["text"]
    assert f"version {SCHEMA_VERSION}" in checks[0]["text"]


def test_a_run_an_orchestrator_and_a_wait_outlive_a_server_that_is_killed(tmp_path):
    with native_server() as server:
        line = CommandLine(tmp_path, store_url=server.new_database())
        settings(line)
        line.write("jobs.yaml", "max_running: 2\n" + JOBS % (10, WAITS))  # both have room on this host
        daemon = line.start("orchestrator", "--slots", "4")
        submitted = line.run("submit", "jobs.yaml").stdout.strip()
        waiting = line.start("wait", submitted)
        run = line.start("run", "jobs.yaml")
        witness = tmp_path / "witness"
        wait_until(lambda: "started on local" in line.said(run), "the run has begun", timeout_s=60)
        wait_until(lambda: lines(witness), "jobs run", timeout_s=60)
        server.stop(signal.SIGKILL)
        for process in (daemon, run):
            wait_until(lambda process=process: "waiting for it" in line.said(process), "the outage is told", 60)
        line.write("go", "")
        server.start()
        wait_until(lambda: len(lines(witness)) >= 12, "jobs run again", timeout_s=60)
        server.stop(signal.SIGKILL)
        server.start()
        assert run.wait(60) == 0, line.said(run)
        assert waiting.wait(60) == 0, line.said(waiting)
        daemon.terminate()
        assert daemon.wait(60) == 0, line.said(daemon)
        assert Counter(lines(witness)) == Counter({str(number): 2 for number in range(1, 11)})
        assert line.run("db", "check").returncode == 0
        assert 1 <= line.said(run).count("waiting for it") <= 2
        server.stop()
        idle = line.start("orchestrator")
        wait_until(lambda: "waiting for it" in line.said(idle), "it waits for its store")
        idle.terminate()
        assert idle.wait(60) == 0, line.said(idle)


def lines(path):
    return path.read_text().split() if path.exists() else []


def test_a_password_in_the_variable_works_and_is_never_shown(tmp_path):
    with native_server() as server:
        database = server.new_database()
        server.execute("GRANT ALL ON SCHEMA public TO lab", database.partition("?")[0].rpartition("/")[2])
        line = CommandLine(tmp_path, store_url=server.lab_url(database))
        line.run("submit", "-", stdin="name: x\ntasks: {j: {type: job, command: 'true'}}\n")
        shown = [line.run(*words, code=None) for words in (["doctor"], ["doctor", "--config"], ["-vv", "status"])]
        line.environ["WLMCTL_STORE"] = server.lab_url(database, "not so correct")
        shown.append(line.run("status", code=4))
        assert "the password is wrong" in shown[-1].stderr
        for done in shown:
            assert not any(secret in done.stdout + done.stderr for secret in (PASSWORD, "correct%20", "so correct"))
        line.environ.pop("WLMCTL_STORE")
        line.environ["SECRET"] = PASSWORD
        plain = server.lab_url(database, None)
        line.write("wlmctl.toml", f'store = "{plain}"\nstore_password = {{env = "SECRET"}}\n')
        assert len(line.run("status", "-q").stdout.split()) == 1
