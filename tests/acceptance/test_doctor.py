from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import wlmctl
from tests.services.relay import Relay
from tests.services.sshd import Farm
from wlmctl.store import closures, open_database, workers

WLMCTL = [sys.executable, "-m", "wlmctl"]


def doctor(folder: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [*WLMCTL, "doctor", *options]
    settings = {**os.environ, **env}
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=60, check=False)


def checks(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    document = json.loads(done.stdout)
    assert document["version"] == 1
    found: list[dict[str, Any]] = document["checks"]
    return found


def problems(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [check["text"] for check in checks(done) if check["level"] == "problem"]


def test_a_sound_installation_has_no_problem(tmp_path: Path) -> None:
    done = doctor(tmp_path, "-o", "json")
    assert (done.returncode, done.stderr, problems(done)) == (0, "", [])
    assert {"python", "libraries", "plugins", "store", "clock", "ssh agent"} <= {each["name"] for each in checks(done)}


def test_every_setting_is_shown_with_its_origin(tmp_path: Path) -> None:
    (tmp_path / "wlmctl.toml").write_text('[machines.nas]\nhost = "nas.example"\nport = 2222\n')
    done = doctor(tmp_path, "--config", "-o", "json", WLMCTL_STORE=f"sqlite:///{tmp_path}/other.db")
    settings = {row["key"]: row for row in json.loads(done.stdout)["settings"]}
    assert settings["store"] == {
        "key": "store", "value": f"sqlite:///{tmp_path}/other.db", "origin": "WLMCTL_STORE"
    }  # fmt: skip
    assert settings["machines.nas.port"]["origin"] == f"{tmp_path}/wlmctl.toml:3"
    assert settings["broker"]["origin"] == "default"
    text = doctor(tmp_path, "--config").stdout
    assert any(line.split() == ["machines.nas.port", "2222", f"{tmp_path}/wlmctl.toml:3"] for line in text.splitlines())


def test_a_broken_plugin_is_named_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    info = tmp_path / "site" / "broken_thing-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-thing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wlmctl]\ntransport_broken = no_such_module_anywhere\n")
    done = doctor(tmp_path, "-o", "json", PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 1
    [problem] = problems(done)
    assert "transport_broken of broken-thing 1.0" in problem
    assert "no_such_module_anywhere" in problem


def test_a_store_that_is_no_store_is_a_problem_and_not_the_end(tmp_path: Path) -> None:
    (tmp_path / "wlmctl.toml").write_text('store = "sqlite:///bad.db"\n')
    (tmp_path / "bad.db").write_bytes(b"this is no database, and long enough to be looked at" * 50)
    done = doctor(tmp_path, "-o", "json")
    assert done.returncode == 1
    assert all("bad.db" in problem for problem in problems(done))
    assert "Traceback" not in done.stderr
    assert "clock" in {each["name"] for each in checks(done)}


def test_the_store_is_told_with_its_journal_and_file_system(tmp_path: Path) -> None:
    (tmp_path / "wlmctl.toml").write_text('store = "sqlite:///wlmctl.db"\n')
    open_database(f"sqlite:///{tmp_path}/wlmctl.db").close()
    [store] = [check["text"] for check in checks(doctor(tmp_path, "-o", "json")) if check["name"] == "store"]
    assert "journal wal" in store
    assert "0 experiments" in store


def test_a_secret_that_others_may_read_and_a_store_that_they_may_change_are_problems(tmp_path: Path) -> None:
    store, secret = tmp_path / "own.db", tmp_path / "secret"
    open_database(f"sqlite:///{store}").close()
    secret.write_text("planted\n")
    (tmp_path / "wlmctl.toml").write_text('store_password = {file = "secret"}\nstore = "sqlite:///own.db"\n')
    secret.chmod(0o640)
    store.chmod(0o664)
    assert problems(doctor(tmp_path, "-o", "json")) == []
    secret.chmod(0o644)
    store.chmod(0o666)
    assert problems(doctor(tmp_path, "-o", "json")) == [
        f"store_password: every user of this host may read {secret} (mode 644)",
        f"store: every user of this host may change {store} (mode 666)",
    ]


def test_a_clock_that_was_set_back_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "wlmctl.toml").write_text('store = "sqlite:///wlmctl.db"\n')
    open_database(f"sqlite:///{tmp_path}/wlmctl.db").close()
    with sqlite3.connect(tmp_path / "wlmctl.db") as db:
        columns = "id, name, user, host, host_name, folder, origin, state, priority, labels, document, content_digest"
        db.execute(
            f"INSERT INTO experiments ({columns}, task_count, created) VALUES"
            " ('a', 'a', 'u', 'h', 'h', '/', 'run', 'running', 4, '[]', '{}', '', 0, ?)",
            (time.time() + 7200,),
        )
    db.close()
    done = doctor(tmp_path, "-o", "json")
    assert any("behind the newest time in the store" in problem for problem in problems(done))


def test_workers_of_another_version_are_named(tmp_path: Path) -> None:
    (tmp_path / "wlmctl.toml").write_text('store = "sqlite:///wlmctl.db"\n')
    with open_database(f"sqlite:///{tmp_path}/wlmctl.db") as db, db.transaction():
        for name, version in (("new", wlmctl.__version__), ("old", "0.0.1")):
            info = {"name": name, "host_name": "box", "slots": 4, "version": version}
            workers.put(db, f"u.{name}-222222", info, workers.ALIVE, 1.0)
    found = [check for check in checks(doctor(tmp_path, "-o", "json")) if check["name"] == "workers"]
    assert [check["text"] for check in found] == [
        "2 live with 8 slots on box",
        f"version 0.0.1 runs in old; this is {wlmctl.__version__}",
    ]


def test_channels_that_the_broker_has_closed_are_told_and_of_the_last_day_are_a_problem(tmp_path: Path) -> None:
    (tmp_path / "wlmctl.toml").write_text('store = "sqlite:///wlmctl.db"\n')
    with open_database(f"sqlite:///{tmp_path}/wlmctl.db") as db, db.transaction():
        closures.add(db, "worker w on box", "delivery acknowledgement timed out", time.time() - 3 * 86_400)
        for _ in range(2):
            closures.add(db, "orchestrator on box", "delivery acknowledgement timed out", time.time())
    found = [check for check in checks(doctor(tmp_path, "-o", "json")) if "406" in check["text"]]
    assert [check["level"] for check in found] == ["problem", "note"]
    texts = [check["text"] for check in found]
    assert texts[0].startswith("orchestrator on box: a channel was closed with 406, 2 times, the last one ")
    assert "406, 1 time, the last one 3d 00h ago: delivery acknowledgement timed out" in texts[1]
    assert found[0]["advice"].startswith("set ack_timeout to what the broker has, or less: rabbitmqctl eval")


def test_the_leaders_newest_word_shows_that_this_clock_is_behind(tmp_path: Path) -> None:
    (tmp_path / "wlmctl.toml").write_text('store = "sqlite:///wlmctl.db"\n')
    with open_database(f"sqlite:///{tmp_path}/wlmctl.db") as db, db.transaction():
        info = {"name": "w", "host_name": "box", "slots": 4, "version": wlmctl.__version__}
        workers.put(db, "u.w-222222", info, workers.ALIVE, time.time() + 7259)  # a minute until it is looked at
    assert any("2h 00m behind" in problem for problem in problems(doctor(tmp_path, "-o", "json")))


def test_a_machine_with_an_unknown_host_key_says_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "wlmctl.toml").write_text('[machines.nas]\nhost = "nas.example"\n')
    done = doctor(tmp_path, "-o", "json")
    [check] = [each for each in checks(done) if each["level"] == "problem"]
    assert "nas: the host key of" in check["text"]
    assert check["advice"] == "wlmctl machine show nas, then wlmctl machine trust nas"


def test_an_unknown_transport_of_a_machine_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "wlmctl.toml").write_text('[machines.nas]\nhost = "nas.example"\ntransport = "pigeon"\n')
    assert any("transport 'pigeon' is not installed" in problem for problem in problems(doctor(tmp_path, "-o", "json")))


def test_a_dead_agent_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(path))
    done = doctor(tmp_path, "-o", "json", SSH_AUTH_SOCK=str(path))
    assert done.returncode == 1
    assert any(str(path) in problem for problem in problems(done))


def test_machines_are_connected_to_only_when_asked(farm: Farm, tmp_path: Path) -> None:
    with ExitStack() as relays:
        ways = {name: relays.enter_context(Relay(each.address, each.port)) for name, each in farm.machines.items()}
        inventory = farm.write_inventory(tmp_path, ways={name: (way.address, way.port) for name, way in ways.items()})
        done = doctor(tmp_path, "-o", "json", **inventory.env)
        assert (done.returncode, problems(done)) == (0, [])
        assert [way.passed_bytes("down") for way in ways.values()] == [0, 0], "a server speaks first"
    inventory = farm.write_inventory(tmp_path)
    done = doctor(tmp_path, "--machines", "-o", "json", **inventory.env)
    assert (done.returncode, problems(done)) == (0, []), done.stdout
    assert any(check["text"].startswith("alpha: login") for check in checks(done))


@pytest.mark.parametrize("option", ["--config", "--machines"])
def test_text_goes_to_stdout_only(option: str, tmp_path: Path) -> None:
    done = doctor(tmp_path, option)
    assert done.stderr == ""
    assert done.stdout
