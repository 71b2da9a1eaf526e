"""``wlmctl machine`` as a user types it, against real sshd processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.services.sshd import Farm, Inventory, make_key, require_sshd
from wlmctl.store import host_keys, open_database

Wlmctl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def own_farm(tmp_path: Path) -> Iterator[Farm]:
    require_sshd()
    farm = Farm(tmp_path / "farm", first=90)
    try:
        farm.add("nas")
        yield farm
    finally:
        farm.close()


@pytest.fixture
def inventory(own_farm: Farm, tmp_path: Path) -> Inventory:
    return own_farm.write_inventory(tmp_path / "inventory")


@pytest.fixture
def wlmctl(inventory: Inventory) -> Wlmctl:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "wlmctl", *arguments],
            cwd=inventory.folder,
            env={**os.environ, **inventory.env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return call


def states(done: subprocess.CompletedProcess[str], number: int = 0) -> dict[str, str]:
    checks = json.loads(done.stdout)["machines"][number]["checks"]
    return {check["part"]: check["state"] for check in checks}


def test_test_finds_every_part_of_a_good_machine_well(wlmctl: Wlmctl) -> None:
    done = wlmctl("machine", "test", "nas", "local", "-o", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(states(done).values()) == {"ok"}
    assert set(states(done)) >= {"name", "tcp", "key", "login", "shell", "sftp", "scp", "sha256"}
    assert set(states(done)) >= {"scratch", "space", "batch", "clock", "round trip"}
    assert states(done, 1)["scratch"] == "ok"
    text = wlmctl("machine", "test", "nas").stdout
    assert "round trip" in text
    assert "Traceback" not in text


def test_test_of_a_server_that_is_down_says_so_and_ends_with_4(wlmctl: Wlmctl, own_farm: Farm) -> None:
    own_farm["nas"].stop()
    done = wlmctl("machine", "test", "nas", "-o", "json")
    assert done.returncode == 4
    assert states(done)["tcp"] == "unreachable"


def test_test_of_a_refused_login_says_which_keys_were_offered(wlmctl: Wlmctl, own_farm: Farm, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    own_farm["nas"].authorized_keys.write_text((tmp_path / "other.pub").read_text())
    done = wlmctl("machine", "test", "nas", "-o", "json")
    assert done.returncode == 4
    assert states(done)["login"] == "unreachable"
    assert str(own_farm.key) in done.stdout


def test_test_of_a_scratch_that_cannot_be_made_ends_with_1(wlmctl: Wlmctl, inventory: Inventory) -> None:
    inventory.config.write_text(inventory.config.read_text() + 'scratch = "/dev/null/x"\n')
    done = wlmctl("machine", "test", "nas", "-o", "json")
    assert done.returncode == 1
    assert states(done)["scratch"] == "problem"


def test_an_unknown_key_is_shown_trusted_and_then_the_machine_works(wlmctl: Wlmctl, inventory: Inventory) -> None:
    inventory.known_hosts.write_text("")
    refused = wlmctl("machine", "test", "nas", "-o", "json")
    assert refused.returncode == 4
    assert states(refused)["key"] == "unreachable"
    shown = wlmctl("machine", "show", "nas")
    assert shown.returncode == 0
    assert "SHA256:" in shown.stdout
    assert "unknown" in shown.stdout
    unasked = wlmctl("machine", "trust", "nas")
    assert unasked.returncode == 1
    assert inventory.known_hosts.read_text() == ""
    stored = wlmctl("machine", "trust", "nas", "--yes")
    assert stored.returncode == 0
    assert "SHA256:" in stored.stdout
    assert wlmctl("machine", "test", "nas").returncode == 0


def test_on_a_fleet_a_trusted_key_goes_into_the_store_for_all_workers(
    wlmctl: Wlmctl, inventory: Inventory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WLMCTL_STORE", f"sqlite:///{tmp_path}/fleet.db")
    monkeypatch.setenv("WLMCTL_BROKER", "amqp://me@127.0.0.1:1/")
    line = inventory.known_hosts.read_text().strip()
    inventory.known_hosts.write_text("")
    done = wlmctl("machine", "trust", "nas", "--yes")
    assert f"nas: stored for the workers in sqlite:///{tmp_path}/fleet.db" in done.stdout
    with open_database(f"sqlite:///{tmp_path}/fleet.db") as db:
        assert host_keys.get(db) == {"nas": (line,)}
    again = wlmctl("machine", "trust", "nas")
    assert "already trusted" in again.stdout
    assert "stored" not in again.stdout


def test_the_host_keys_of_a_jump_host_and_of_what_is_behind_are_trusted_in_one_go(
    own_farm: Farm, tmp_path: Path, inventory: Inventory, wlmctl: Wlmctl
) -> None:
    own_farm.add("bastion")
    own_farm.write_inventory(inventory.folder, extra={"nas": 'jump = "bastion"'})
    inventory.known_hosts.write_text("")
    assert wlmctl("machine", "trust", "nas", "--yes").returncode == 0
    assert len(inventory.known_hosts.read_text().splitlines()) == 2
    assert wlmctl("machine", "test", "nas").returncode == 0


def test_list_and_show_have_every_setting_and_no_secret(
    wlmctl: Wlmctl, inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSPHRASE", "open sesame")
    inventory.config.write_text(inventory.config.read_text() + 'passphrase = {env = "PASSPHRASE"}\nlabels = ["gpu"]\n')
    listed = wlmctl("machine", "list", "-o", "json")
    by_name = {entry["name"]: entry for entry in json.loads(listed.stdout)["machines"]}
    assert set(by_name) == {"local", "nas"}
    assert by_name["nas"]["labels"] == ["gpu"]
    shown = wlmctl("machine", "show", "nas", "-o", "json")
    document = json.loads(shown.stdout)
    assert document["machine"]["passphrase"] == {"env": "PASSPHRASE"}
    assert document["host_keys"][0]["trust"] == "trusted"
    assert "open sesame" not in listed.stdout + shown.stdout
    assert "gpu" in wlmctl("machine", "list").stdout


def test_an_unknown_machine_is_3_with_a_suggestion(wlmctl: Wlmctl) -> None:
    done = wlmctl("machine", "test", "naas")
    assert done.returncode == 3
    assert "nas" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "clean" in wlmctl("machine", "--help").stdout
