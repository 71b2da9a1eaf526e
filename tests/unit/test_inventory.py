"""The leader's machines and host keys in the store, and which machines an experiment file is checked against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from wlmctl.cli.main import cli
from wlmctl.machine import Machine, Reference
from wlmctl.store import Database, experiments, host_keys, inventory, open_database, workers
from wlmctl.store.leases import ORCHESTRATOR, take

NAS = Machine(
    "nas", host="nas.example", user="me", port=2222, jump="gate", key="/k", passphrase=Reference("env", "PHRASE"),
    labels=("disk", "site=a"), cpus=4, memory_bytes=2**30, batch_options={"account": "p1"}, max_jobs=3,
)  # fmt: skip
LOCAL = Machine("local", transport="local")
FILE = "name: pi\ntasks:\n  a: {type: job, machine: %s, command: 'true'}\n"
HERE = {
    "name": "box", "host": "", "host_name": "box.example", "user": "", "pid": 7, "slots": 4, "types": ["job"],
    "labels": ["gpu"], "machines": ["*"], "schemas": [1], "version": "0.1",
}  # fmt: skip


@pytest.fixture
def db(new_store: Callable[[], str]) -> Iterator[Database]:
    with open_database(new_store()) as database:
        yield database


def test_an_inventory_comes_back_as_it_was_put(db: Database) -> None:
    assert inventory.get(db) is None
    with db.transaction():
        inventory.put(db, {"nas": NAS, "local": LOCAL})
    assert inventory.get(db) == {"nas": NAS, "local": LOCAL}


def test_only_what_changed_is_written_and_what_is_gone_is_removed(db: Database) -> None:
    with open_database(db.url) as other:
        with db.transaction():
            inventory.put(db, {"nas": NAS, "old": NAS, "local": LOCAL})
        version = other.data_version()
        with db.transaction():
            inventory.put(db, {"nas": NAS, "old": NAS, "local": LOCAL})
        assert other.data_version() == version
        with db.transaction():
            inventory.put(db, {"nas": replace(NAS, cpus=8), "local": LOCAL})
        found = inventory.get(other)
        assert found == {"nas": replace(NAS, cpus=8), "local": LOCAL}


def test_an_inventory_of_a_later_version_is_read_without_what_is_unknown(db: Database) -> None:
    with db.transaction():
        db.execute("INSERT INTO inventory VALUES ('x', ?)", ('{"name":"x","host":"h","colour":"red","labels":["a"]}',))
    assert inventory.get(db) == {"x": Machine("x", host="h", labels=("a",))}


def test_a_newly_trusted_key_takes_the_place_of_the_same_hosts_old_one(db: Database) -> None:
    with db.transaction():
        host_keys.put(db, "nas", ["nas ssh-ed25519 QQ==", "gate ssh-ed25519 Qg=="])
        host_keys.put(db, "nas", ["nas ssh-ed25519 Qw=="])
        host_keys.put(db, "cluster", ["c ssh-rsa RA=="])
    assert host_keys.get(db) == {
        "nas": ("gate ssh-ed25519 Qg==", "nas ssh-ed25519 Qw=="),
        "cluster": ("c ssh-rsa RA==",),
    }


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The store of the commands below, whose orchestrator has told its machines; own settings have another one."""
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/wlmctl.db"
    monkeypatch.setenv("WLMCTL_STORE", url)
    Path("wlmctl.toml").write_text('[machines.own]\nhost = "own.example"\n')
    with open_database(url) as database:
        with database.transaction():
            inventory.put(database, {"nas": replace(NAS, batch_options={}), "local": LOCAL})
        yield database


def call(command: str, machine: str, *args: str) -> Result:
    Path("pi.yaml").write_text(FILE % machine)
    return CliRunner().invoke(cli, [command, "pi.yaml", *args])


def lead(db: Database) -> None:
    """An orchestrator is live: this process."""
    with db.transaction():
        take(db, ORCHESTRATOR, expect=None, info={"is_fleet": True})


def work(db: Database, **differently: object) -> None:
    """A worker is live."""
    from wlmctl.host import host_id
    from wlmctl.runtime.submit import login_name

    with db.transaction():
        details = {**HERE, "host": host_id(), "user": login_name(), **differently}
        workers.put(db, f"u.{details['name']}-222222", details, workers.ALIVE, 1.0)


def test_submit_checks_against_the_machines_of_a_live_orchestrator(store: Database) -> None:
    lead(store)
    work(store)
    done = call("submit", "nas")
    assert (done.exit_code, done.stderr) == (0, "")
    done = call("submit", "own")
    assert done.exit_code == 2
    assert "the machines of the orchestrator's configuration count" in done.stderr.splitlines()[0]
    assert "own" in done.stderr.splitlines()[1]


def test_submit_takes_ones_own_machines_too_while_no_orchestrator_is_live(store: Database) -> None:
    assert call("submit", "own").exit_code == 0
    assert call("submit", "nas").exit_code == 0
    assert call("submit", "other").exit_code == 2


@pytest.mark.parametrize("machine", ["own", "nas"])
def test_validate_knows_the_machines_of_both(store: Database, machine: str) -> None:
    lead(store)
    done = call("validate", machine)
    assert (done.exit_code, done.stderr) == (0, "")
    assert call("validate", "other").exit_code == 2


def test_validate_needs_no_store(store: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert store.name
    (tmp_path / "bad.db").write_bytes(b"no database" * 100)
    monkeypatch.setenv("WLMCTL_STORE", f"sqlite:///{tmp_path}/bad.db")
    done = call("validate", "own")
    assert (done.exit_code, done.stderr) == (0, "")


def test_machine_commands_know_the_machines_of_the_orchestrator_too(store: Database) -> None:
    assert store.name
    text = CliRunner().invoke(cli, ["machine", "list"]).stdout
    assert [line.split()[0] for line in text.splitlines()] == ["NAME", "local", "nas", "own"]


def test_it_is_said_when_no_worker_is_live(store: Database) -> None:
    lead(store)
    done = call("submit", "nas")
    assert "no worker is live: its tasks wait until one is started" in done.stderr
    assert "note:     no worker is live" in CliRunner().invoke(cli, ["status", done.stdout.strip()]).stdout
    waited = CliRunner().invoke(cli, ["wait", done.stdout.strip(), "--timeout", "0"])
    assert waited.stderr.startswith("wlmctl: no worker is live: start one with wlmctl worker\n")


def test_submit_says_when_no_worker_can_touch_its_local(store: Database) -> None:
    lead(store)
    work(store, host="another")
    assert "no live worker is on this host" in call("submit", "local").stderr
    assert call("submit", "nas").stderr == ""
    work(store, name="second", user="somebody")
    assert "no live worker is on this host" in call("submit", "local").stderr
    work(store, name="third")
    assert call("submit", "local").stderr == ""


@pytest.mark.parametrize("wanted", ["box", "box.example", "gpu"])
def test_submit_says_where_local_is_to_be(store: Database, wanted: str) -> None:
    lead(store)
    work(store, host="another")
    done = call("submit", "local", "--local-on", wanted)
    assert (done.exit_code, done.stderr) == (0, "")
    assert experiments.find(store, done.stdout.strip()).local_on == wanted
    assert "no live worker is on 'moon'" in call("submit", "local", "--local-on", "moon").stderr


def test_the_same_key_with_another_place_is_other_content(store: Database) -> None:
    first = call("submit", "nas", "--key", "k", "--local-on", "box")
    assert call("submit", "nas", "--key", "k", "--local-on", "box").stdout == first.stdout
    assert call("submit", "nas", "--key", "k").exit_code == 2


def test_status_names_the_worker_of_a_task_and_where_local_is(store: Database) -> None:
    work(store)
    identifier = call("submit", "nas", "--local-on", "box").stdout.strip()
    with store.transaction():
        store.execute("UPDATE tasks SET worker = 'u.box-222222', state = 'running'")
    text = CliRunner().invoke(cli, ["status", identifier]).stdout
    assert "local:    on box" in text
    assert text.splitlines()[-2].split()[:5] == ["TASK", "TYPE", "STATE", "MACHINE", "WORKER"]
    assert "box" in text.splitlines()[-1].split()


def test_worker_list_tells_what_each_can_do(store: Database) -> None:
    work(store)
    work(store, name="other")
    with store.transaction():
        workers.end(store, "u.other-222222", workers.GONE, 2.0, "drained")
    listed = CliRunner().invoke(cli, ["worker", "list"])
    assert listed.stderr == "wlmctl: no orchestrator is running: this is what the last one knew\n"
    text = listed.stdout.splitlines()
    assert text[0].split() == ["NAME", "STATE", "HOST", "SLOTS", "BUSY", "TYPES", "LABELS", "MACHINES", "SEEN"]
    assert [line.split()[:7] for line in text[1:]] == [["box", "alive", "box.example", "4", "0", "job", "gpu"]]
    text = CliRunner().invoke(cli, ["worker", "list", "--all"]).stdout.splitlines()
    assert [line.split()[:2] for line in text[1:]] == [["box", "alive"], ["other", "gone"]]


def test_worker_drain_asks_and_says_what_it_does_not_find(store: Database) -> None:
    lead(store)
    work(store)
    runner = CliRunner()
    assert runner.invoke(cli, ["worker", "drain", "bo"]).exit_code == 0
    assert workers.to_drain(store) == {"u.box-222222"}
    assert "drain asked" in runner.invoke(cli, ["worker", "list"]).stdout
    missing = runner.invoke(cli, ["worker", "drain", "nobody"])
    assert (missing.exit_code, missing.stderr) == (3, "wlmctl: no worker 'nobody' (see: wlmctl worker list)\n")
    late = runner.invoke(cli, ["worker", "drain", "box", "--wait", "--timeout", "0.1"])
    assert late.exit_code == 124
    with store.transaction():
        workers.end(store, "u.box-222222", workers.GONE, 2.0, "drained")
    gone = runner.invoke(cli, ["worker", "drain", "box", "--wait"])
    assert (gone.exit_code, gone.stderr) == (0, "wlmctl: u.box-222222 is gone already\n")


def test_options_of_a_worker_are_refused_before_a_subcommand(store: Database) -> None:
    assert store.name
    done = CliRunner().invoke(cli, ["worker", "--slots", "4", "list"])
    assert (done.exit_code, done.stderr) == (2, "wlmctl: worker list: --slots is an option of wlmctl worker itself\n")
