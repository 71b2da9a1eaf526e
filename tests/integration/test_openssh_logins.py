"""The transport ``openssh``: logins by the system's own ``ssh``, those made by hand, and what becomes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from wlmctl_transport_openssh import open_openssh

from tests.services.ports import free_port
from tests.services.ssh_site import Site, site
from tests.services.sshd import make_key
from tests.waiting import wait_until
from wlmctl.errors import Broken, ConfigError, LoginRefused, Unreachable, UntrustedHost
from wlmctl.machine import Machine, Reference
from wlmctl.testing.transport import content_of, get

__all__ = ["site"]


@pytest.fixture(autouse=True)
def own_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folders of control sockets lie in one of this test, and none is left at its end."""
    with tempfile.TemporaryDirectory(prefix="wo-", dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)
        wait_until(lambda: list(Path(folder).iterdir()) == [], "no control socket is left")


def opened(site: Site, machine: Machine | None = None, **options: Any) -> Any:
    """A connection to the site's machine; any fault is one of a transport's."""
    return open_openssh(machine or site.machine, {"timeout_s": 10, **options})


def says_hello(site: Site, machine: Machine | None = None, **options: Any) -> bool:
    with opened(site, machine, **options) as transport:
        return bool(transport.run("echo hello").stdout == b"hello\n")


def logins(site: Site) -> int:
    return site.sshd.log_text.count("Accepted")


@contextmanager
def login_by_hand(site: Site, path: Path) -> Iterator[None]:
    """What a user does who is asked for more than a key: ``ssh -fNM``, once. Keys alone do not do any more."""
    call = ["ssh", "-F", str(site.inventory.ssh_config), "-S", str(path)]
    subprocess.run([*call, "-fNM", "-oControlPersist=60", "nas"], check=True, capture_output=True, timeout=60)
    site.sshd.authorized_keys.write_text("")
    try:
        yield
    finally:
        subprocess.run([*call, "-Oexit", "nas"], check=False, capture_output=True, timeout=60)


def test_files_and_commands_share_one_login(site: Site) -> None:
    with opened(site) as transport:
        for number in range(3):
            assert transport.run(f"echo {number}; exit {number}").exit_code == number
        assert transport.stat(str(site.sshd.home)).kind == "directory"
        assert transport.digest(str(site.inventory.config)) is not None
        assert logins(site) == 1
    wait_until(lambda: not site.sshd.sessions(), "the login has ended with its connection")


def test_the_inventory_alone_says_all(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text(f'UserKnownHostsFile "{site.known_hosts}"\n')
    monkeypatch.setenv("WLMCTL_SSH_CONFIG", str(tmp_path / "config"))
    sshd = site.sshd
    assert says_hello(site, Machine("x", host=sshd.address, user=sshd.user, port=sshd.port, key=str(site.farm.key)))


def test_a_host_key_that_is_not_known_or_has_changed_is_refused_whatever_the_configuration_says(
    site: Site, tmp_path: Path
) -> None:
    site.add_config("StrictHostKeyChecking no")
    site.known_hosts.write_text("")
    with pytest.raises(UntrustedHost) as refused:
        says_hello(site)
    assert "host key is known" in str(refused.value)
    assert "wlmctl machine trust nas" in str(refused.value)
    other = " ".join(make_key(tmp_path / "other").with_name("other.pub").read_text().split()[:2])
    site.known_hosts.write_text(f"[{site.sshd.address}]:{site.sshd.port} {other}\n")
    with pytest.raises(UntrustedHost, match="HAS CHANGED"):
        says_hello(site)
    assert logins(site) == 0


def test_a_key_that_the_deployment_trusts_is_trusted(site: Site) -> None:
    site.known_hosts.write_text("")
    assert says_hello(site, replace(site.machine, host_keys=(site.sshd.known_hosts_line.strip(),)))


def test_a_refused_login_says_how_to_log_in_by_hand(site: Site) -> None:
    site.sshd.authorized_keys.write_text("")
    with pytest.raises(LoginRefused) as refused:
        says_hello(site, control_path="/tmp/wlm-%n")
    assert "refused the login" in str(refused.value)
    assert "ssh -fNM -S /tmp/wlm-nas nas" in str(refused.value)
    with pytest.raises(LoginRefused, match="set control_path"):
        says_hello(site)


def test_a_login_made_by_hand_is_used_and_left_open(site: Site, own_temporary_folder: Path) -> None:
    path = own_temporary_folder / "by-hand"
    with login_by_hand(site, path):
        with pytest.raises(LoginRefused):
            says_hello(site)
        for _ in range(2):
            assert says_hello(site, control_path=str(path))
        site.add_config(f"ControlPath {path}")
        assert says_hello(site)
        assert path.is_socket()
        assert logins(site) == 1


def test_a_login_that_dies_is_noticed_and_not_made_anew_in_silence(site: Site) -> None:
    with opened(site) as transport:
        assert transport.alive()
        site.sshd.kill_sessions()
        wait_until(lambda: not transport.alive(), "the connection is known to be gone")
        with pytest.raises(Broken):
            transport.run("echo hello")
        with pytest.raises(Broken):
            transport.stat("/")
        assert logins(site) == 1


def test_a_command_whose_connection_breaks_is_broken_and_one_with_code_255_is_not(site: Site) -> None:
    with opened(site) as transport:
        assert transport.run("exit 255").exit_code == 255
        with pytest.raises(Broken, match="broke during a command"):
            transport.run("kill -9 $(ps -o ppid= -p $PPID); sleep 60")


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_connection_that_is_closed_breaks_off_the_command_that_another_thread_waits_for(
    site: Site, own_temporary_folder: Path, tmp_path: Path, by_hand: bool
) -> None:
    path, begun = own_temporary_folder / "by-hand", tmp_path / "begun"
    with login_by_hand(site, path) if by_hand else nullcontext():
        transport, closed_s = opened(site, control_path=str(path)), list[float]()

        def close() -> None:
            wait_until(begun.exists, "the command runs")
            closed_s.append(time.monotonic())
            transport.close()

        closing = threading.Thread(target=close)
        closing.start()
        with pytest.raises(Broken):
            transport.run(f"touch '{begun}'; sleep 60")
        assert time.monotonic() - closed_s[0] < 15
        closing.join()


def test_what_a_command_leaves_behind_does_not_keep_it(site: Site) -> None:
    with opened(site) as transport:
        began = time.monotonic()
        done = transport.run("sleep 50 & echo started")
        assert (done.exit_code, done.stdout) == (0, b"started\n")
        assert time.monotonic() - began < 40


def test_a_host_that_cannot_be_reached_or_says_nothing_or_has_no_sftp_is_unreachable(
    site: Site, tmp_path: Path
) -> None:
    with pytest.raises(Unreachable, match="Could not resolve hostname"):
        says_hello(site, Machine("x", host="no-such-host.invalid"))
    with pytest.raises(Unreachable, match="refused"):
        says_hello(site, Machine("x", host="127.0.0.1", port=free_port("127.0.0.1")))
    site.sshd.pause()
    try:
        with pytest.raises(Unreachable, match=r"timed out|no answer for 1 s"):
            opened(site, timeout_s=1)
    finally:
        site.sshd.resume()
    site.farm.add("plain", no_sftp=True)
    site.farm.write_inventory(tmp_path / "inventory")
    with pytest.raises(Unreachable, match=r'the host offers no SFTP \(transport = "scp" may work\)'):
        says_hello(site, Machine("plain", host="plain"))


def test_a_jump_host_leads_to_the_machine(site: Site, tmp_path: Path) -> None:
    bastion = site.farm.add("bastion")
    inventory = site.farm.write_inventory(tmp_path / "inventory")
    assert inventory.ssh_config == site.inventory.ssh_config
    assert says_hello(site, replace(site.machine, jump="bastion"))
    assert bastion.log_text.count("Accepted") == 1


def test_options_that_are_wrong_are_one_line(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="expected timeout_s or control_path"):
        opened(site, master="x")
    with pytest.raises(ConfigError, match="control_path: expected the path of a socket"):
        opened(site, control_path=3)
    with pytest.raises(ConfigError, match="from the SSH agent only"):
        opened(site, replace(site.machine, passphrase=Reference("env", "P")))
    site.add_config("NoSuchOption yes")
    with pytest.raises(ConfigError, match=r"the SSH configuration cannot be used: .*[Bb]ad configuration option"):
        opened(site)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="there is no program ssh"):
        opened(site)


def test_a_process_that_is_killed_leaves_no_login(site: Site, own_temporary_folder: Path) -> None:
    program = (
        "import sys, time\nfrom wlmctl_transport_openssh import open_openssh\nfrom wlmctl.machine import Machine\n"
        "transport = open_openssh(Machine('nas', host='nas'), {})\nprint('open', flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    assert site.sshd.sessions()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    wait_until(lambda: not site.sshd.sessions(), "the login has ended with the process")
    for left in own_temporary_folder.iterdir():  # a folder without a socket is all that stays
        assert not any(path.is_socket() for path in left.iterdir())
        for path in left.iterdir():
            path.unlink()
        left.rmdir()


def test_large_files_go_both_ways(site: Site, tmp_path: Path) -> None:
    content = content_of(30_000_000)
    (tmp_path / "f").write_bytes(content)
    with opened(site) as transport:
        assert get(transport, str(tmp_path / "f")) == content
        info = transport.stat(str(tmp_path / "f"))
        transport.write(str(tmp_path / "g"), transport_chunks(content), info)
        assert (tmp_path / "g").read_bytes() == content


def transport_chunks(content: bytes) -> Iterator[bytes]:
    for at in range(0, len(content), 256 * 1024):
        yield content[at : at + 256 * 1024]
