"""What the quick ways through SSH must not change: keys exchanged in mid-file, jumps, other ciphers, ``Match exec``."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from wlmctl_transport_scp import open_scp
from wlmctl_transport_sftp import open_sftp

from tests.services.relay import Relay
from tests.services.ssh_site import Site, site
from tests.services.sshd import Farm, require_sshd
from wlmctl.machine import Machine
from wlmctl.ssh.command import run
from wlmctl.ssh.connection import connect
from wlmctl.ssh.packets import FastPacketizer
from wlmctl.testing.transport import content_of, info_of
from wlmctl.transport import CHUNK_BYTES

__all__ = ["site"]


@pytest.fixture
def farm_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Starts a farm of one sshd with such options, and leads ssh there."""
    require_sshd()
    farm = Farm(tmp_path / "farm", first=60)

    def start(*options: str) -> Machine:
        farm.add("quick", options=options)
        monkeypatch.setenv("WLMCTL_SSH_CONFIG", str(farm.write_inventory(tmp_path / "inventory").ssh_config))
        return Machine("quick", host="quick")

    start.farm = farm  # type: ignore[attr-defined]
    yield start
    farm.close()


def copied_there_and_back(machine: Machine, folder: Path, size_bytes: int) -> Any:
    """Write and read a file and many small ones; returns the connection, for what it has done."""
    content = content_of(size_bytes)
    chunks = [content[at : at + CHUNK_BYTES] for at in range(0, size_bytes, CHUNK_BYTES)]
    path = str(folder / "big")
    small = [(str(folder / f"small-{number}"), content_of(number)) for number in range(300)]
    with open_sftp(machine, {}) as transport:
        transport.write(path, iter(chunks), info_of(content))
        assert b"".join(transport.read(path)) == content
        transport.write_many((name, data, info_of(data)) for name, data in small)  # type: ignore[attr-defined]
        assert list(transport.read_many([name for name, _ in small])) == small  # type: ignore[attr-defined]
        assert transport.run("exit 3").exit_code == 3  # type: ignore[attr-defined]
        return transport._ssh  # type: ignore[attr-defined]


def test_keys_are_exchanged_in_mid_file_again_and_again(farm_of, tmp_path):
    ssh = copied_there_and_back(farm_of("RekeyLimit 1M"), tmp_path, 24 << 20)
    assert isinstance(ssh.packetizer, FastPacketizer)
    assert ssh.session_id != ssh.H, "keys were exchanged again"


@pytest.mark.parametrize("ciphers", ["aes256-gcm@openssh.com", "aes128-ctr"])
def test_a_host_with_other_ciphers_is_served_too(farm_of, ciphers, tmp_path):
    ssh = copied_there_and_back(farm_of(f"Ciphers {ciphers}"), tmp_path, 5 << 20)
    assert ssh.remote_cipher == ciphers


def test_through_a_jump_host_all_is_as_ever(site: Site, tmp_path):
    site.farm.add("behind")
    site.inventory = site.farm.write_inventory(tmp_path / "inventory")
    copied_there_and_back(Machine("behind", host="behind", jump=site.machine.name), tmp_path, 5 << 20)


def test_a_tree_of_many_folders_on_a_far_host_is_listed_and_removed_in_few_round_trips(farm_of, tmp_path, monkeypatch):
    machine = farm_of()
    tree = tmp_path / "tree"
    for number in range(200):
        (tree / f"{number}" / "below").mkdir(parents=True)
        (tree / f"{number}" / "below" / "file").write_bytes(b"x")
        (tree / f"{number}" / "link").symlink_to("below")
    with Relay(farm_of.farm["quick"].address, farm_of.farm["quick"].port, round_trip_s=0.05) as relay:
        ways = {"quick": (relay.address, relay.port)}
        inventory = farm_of.farm.write_inventory(tmp_path / "far", ways=ways)
        monkeypatch.setenv("WLMCTL_SSH_CONFIG", str(inventory.ssh_config))
        with open_sftp(machine, {}) as transport:
            began_s = time.monotonic()
            assert sum(1 for info in transport.walk(str(tree)) if info.kind == "file") == 200
            assert time.monotonic() - began_s < 40, "one after the other it takes more than 80 s"
            began_s = time.monotonic()
            transport.remove(str(tree))
            assert time.monotonic() - began_s < 40
    assert not tree.exists()


def test_match_exec_of_the_ssh_configuration_counts_in_a_process_that_starts_quickly(site: Site):
    site.add_config('Match exec "test -d /"\n  Port 4321\n')
    code = (
        "import sys; from wlmctl.machine import Machine; from wlmctl.ssh.login import resolve;"
        "print(resolve(Machine('m', host='nowhere.example')).port)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "4321\n"


def test_a_login_by_paramiko_leaves_out_what_it_does_not_need():
    code = (
        "import sys; from wlmctl.machine import Machine; from wlmctl.ssh.login import resolve;"
        "resolve(Machine('m', host='nowhere.example')); print('paramiko' in sys.modules, 'invoke' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"


def test_one_connection_runs_hundreds_of_commands(site: Site):
    with connect(site.machine) as ssh:
        for number in range(200):
            assert run(ssh, f"echo {number}").stdout == b"%d\n" % number


def test_the_first_channel_of_a_login_does_not_wait_for_a_delayed_ack(site: Site):
    waited_s = list[float]()
    while min(waited_s, default=1) >= 0.03 and len(waited_s) < 50:  # a busy host delays some, the kernel all
        with connect(site.machine) as ssh:
            began_s = time.monotonic()
            ssh.open_session()
            waited_s.append(time.monotonic() - began_s)
    assert min(waited_s) < 0.03, f"the kernel's delay is 40 ms: {waited_s}"


def test_a_command_by_scp_pays_one_round_trip(farm_of, tmp_path, monkeypatch):
    machine = farm_of()
    quick = farm_of.farm["quick"]
    with Relay(quick.address, quick.port, round_trip_s=0.4) as relay:
        inventory = farm_of.farm.write_inventory(tmp_path / "far", ways={"quick": (relay.address, relay.port)})
        monkeypatch.setenv("WLMCTL_SSH_CONFIG", str(inventory.ssh_config))
        with open_scp(machine, {}) as transport:
            took_s = list[float]()
            while min(took_s, default=1) >= 0.75 and len(took_s) < 20:
                began_s = time.monotonic()
                assert transport.run("echo heard").stdout == b"heard\n"
                took_s.append(time.monotonic() - began_s)
    assert min(took_s) < 0.75, f"two round trips are 0.8 s: {took_s}"


def test_a_host_that_allows_two_sessions_runs_the_commands_of_scp_all_the_same(farm_of, tmp_path):
    content = content_of(3 << 20)
    with open_scp(farm_of("MaxSessions 2"), {}) as transport:
        for number in range(3):
            transport.write(f"{tmp_path}/made-{number}", [content], info_of(content))
            assert b"".join(transport.read(f"{tmp_path}/made-{number}")) == content
            assert transport.run(f"echo {number}").stdout == b"%d\n" % number
