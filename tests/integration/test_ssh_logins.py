"""The way to a machine over SSH: configuration, keys, trust, jump hosts; against real sshd processes."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.services.ports import free_port
from tests.services.relay import Failure, Relay
from tests.services.ssh_site import Site, says_hello, site
from tests.services.sshd import make_key
from tests.waiting import wait_until
from wlmctl.errors import ConfigError, LoginRefused, Unreachable, UntrustedHost
from wlmctl.machine import Machine, Reference
from wlmctl.ssh import resolved_login
from wlmctl.ssh.command import run
from wlmctl.ssh.connection import connect, scan_host_key, trust
from wlmctl.ssh.known_hosts import Trust
from wlmctl.ssh.transport import SshTransport
from wlmctl.testing.transport import content_of

__all__ = ["site"]


def test_an_alias_of_the_ssh_configuration_is_all_a_machine_needs(site: Site) -> None:
    assert says_hello(Machine("nas", host="nas"))
    assert resolved_login(site.machine) == f"{site.sshd.user}@{site.sshd.address}:{site.sshd.port}"


def test_without_ssh_configuration_the_inventory_says_it_all(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/known_hosts").write_text(site.sshd.known_hosts_line)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("WLMCTL_SSH_CONFIG")
    sshd = site.sshd
    assert says_hello(Machine("x", host=sshd.address, user=sshd.user, port=sshd.port, key=str(site.farm.key)))


def test_included_files_and_system_defaults_are_read(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".ssh/more").mkdir(parents=True)
    (home / ".ssh/more/nas").write_text(site.inventory.ssh_config.read_text())
    (home / ".ssh/config").write_text("Include more/*\nHost other\n  Port 1\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("WLMCTL_SSH_CONFIG")
    assert says_hello(site.machine)


def test_a_default_identity_is_offered(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/id_ed25519").write_bytes(site.farm.key.read_bytes())
    monkeypatch.setenv("HOME", str(home))
    text = site.inventory.ssh_config.read_text()
    site.inventory.ssh_config.write_text(
        "\n".join(line for line in text.splitlines() if not line.strip().startswith("Identit"))
    )
    assert says_hello(site.machine)


def test_a_key_of_the_agent_is_offered(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = make_key(tmp_path / "secret", passphrase="open sesame")
    site.sshd.authorized_keys.write_text((tmp_path / "secret.pub").read_text())
    socket_path = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket_path)], stdout=subprocess.DEVNULL)
    try:
        wait_until(socket_path.exists, "the agent listens")
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket_path))
        (tmp_path / "ask").write_text("#!/bin/sh\necho open sesame\n")
        (tmp_path / "ask").chmod(0o700)
        asking = {"SSH_ASKPASS": str(tmp_path / "ask"), "SSH_ASKPASS_REQUIRE": "force"}
        subprocess.run(
            ["ssh-add", "-q", str(secret)], check=True, env={**os.environ, **asking}, stdin=subprocess.DEVNULL
        )
        assert says_hello(replace(site.machine, key=str(secret)))
        with pytest.raises(LoginRefused):  # IdentitiesOnly: the agent's key is not one that was named
            says_hello(site.machine)
    finally:
        agent.terminate()
        agent.wait()


@pytest.mark.parametrize("kind", ["env", "file", "command"])
def test_the_passphrase_of_a_key_comes_by_reference(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    secret = make_key(tmp_path / "secret", passphrase="open sesame")
    site.sshd.authorized_keys.write_text((tmp_path / "secret.pub").read_text())
    monkeypatch.setenv("NAS_PASSPHRASE", "open sesame")
    (tmp_path / "passphrase").write_text("open sesame\n")
    value = {"env": "NAS_PASSPHRASE", "file": str(tmp_path / "passphrase"), "command": "echo open sesame"}[kind]
    assert says_hello(replace(site.machine, key=str(secret), passphrase=Reference(kind, value)))


def test_a_missing_or_wrong_passphrase_is_said_and_never_shown(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = replace(site.machine, key=str(make_key(tmp_path / "secret", passphrase="open sesame")))
    with pytest.raises(LoginRefused, match="has a passphrase"):
        says_hello(machine)
    monkeypatch.setenv("WRONG", "closed sesame")
    with pytest.raises(LoginRefused, match="does not open") as refused:
        says_hello(replace(machine, passphrase=Reference("env", "WRONG")))
    assert "closed sesame" not in str(refused.value)
    with pytest.raises(ConfigError, match="NOT_SET"):
        says_hello(replace(machine, passphrase=Reference("env", "NOT_SET")))


def test_a_wrong_key_is_a_refused_login_that_lists_what_was_offered(site: Site, tmp_path: Path) -> None:
    wrong = make_key(tmp_path / "wrong")
    with pytest.raises(LoginRefused, match=str(wrong)):
        says_hello(replace(site.machine, key=str(wrong)))


@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_connection_that_breaks_during_the_login_is_no_refusal(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Failure
) -> None:
    with Relay(site.sshd.address, site.sshd.port) as relay:
        inventory = site.farm.write_inventory(tmp_path / "far", ways={"nas": (relay.address, relay.port)})
        monkeypatch.setenv("WLMCTL_SSH_CONFIG", str(inventory.ssh_config))
        offer = SshTransport.auth_publickey

        def breaking(transport: SshTransport, *key: Any) -> list[str]:
            relay.fail(how, "down", 1)
            return offer(transport, *key)

        monkeypatch.setattr(SshTransport, "auth_publickey", breaking)
        with pytest.raises(Unreachable, match="the login broke off") as broken:
            says_hello(site.machine)
    assert not isinstance(broken.value, LoginRefused)


def test_a_host_that_ends_the_connection_after_a_wrong_key_has_refused_the_login(site: Site, tmp_path: Path) -> None:
    strict = site.farm.add("strict", options=["MaxAuthTries 1"])
    site.farm.write_inventory(site.inventory.folder)
    wrong = make_key(tmp_path / "wrong")
    with pytest.raises(LoginRefused, match="the host ended the connection"):
        says_hello(Machine(strict.name, host=strict.name, key=str(wrong)))


def test_an_unknown_host_key_is_refused_with_what_to_do(site: Site) -> None:
    site.known_hosts.write_text("")
    with pytest.raises(UntrustedHost) as refused:
        says_hello(site.machine)
    text = str(refused.value)
    assert "SHA256:" in text
    assert "wlmctl machine show nas" in text
    assert "wlmctl machine trust nas" in text


def test_a_changed_host_key_is_refused_until_it_is_trusted(site: Site, tmp_path: Path) -> None:
    other = " ".join((make_key(tmp_path / "other").with_name("other.pub")).read_text().split()[:2])
    site.known_hosts.write_text(f"[{site.sshd.address}]:{site.sshd.port} {other}\n")
    with pytest.raises(UntrustedHost, match="HAS CHANGED"):
        says_hello(site.machine)
    key, verdict = scan_host_key(site.machine)
    assert verdict is Trust.CHANGED
    assert trust(site.machine, key) == str(site.known_hosts)
    assert says_hello(site.machine)
    assert site.known_hosts.read_text() == site.sshd.known_hosts_line


def test_a_key_that_the_deployment_trusts_is_trusted_also_where_this_host_knows_an_older_one(
    site: Site, tmp_path: Path
) -> None:
    trusted = replace(site.machine, host_keys=(site.sshd.known_hosts_line.strip(), "no line of known_hosts"))
    site.known_hosts.write_text("")
    assert says_hello(trusted)
    other = " ".join((make_key(tmp_path / "other").with_name("other.pub")).read_text().split()[:2])
    site.known_hosts.write_text(f"[{site.sshd.address}]:{site.sshd.port} {other}\n")
    assert says_hello(trusted)
    site.known_hosts.write_text(f"@revoked * {site.sshd.public_host_key}\n")
    with pytest.raises(UntrustedHost, match="revoked"):
        says_hello(trusted)
    site.known_hosts.write_text("")
    with pytest.raises(UntrustedHost, match=r"HAS CHANGED: .* the orchestrator's store says otherwise"):
        says_hello(replace(site.machine, host_keys=(f"[{site.sshd.address}]:{site.sshd.port} {other}",)))


def test_hashed_names_patterns_and_revoked_keys_count(site: Site) -> None:
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(site.known_hosts)], check=True, capture_output=True)
    assert site.sshd.address not in site.known_hosts.read_text()
    assert says_hello(site.machine)
    line = site.sshd.public_host_key
    site.known_hosts.write_text(f"[127.0.0.*]:{site.sshd.port} {line}\n")
    assert says_hello(site.machine)
    site.known_hosts.write_text(f"{site.sshd.known_hosts_line}@revoked * {line}\n")
    with pytest.raises(UntrustedHost, match="revoked"):
        says_hello(site.machine)


def test_a_name_that_does_not_resolve_and_a_closed_port_are_unreachable(site: Site) -> None:
    with pytest.raises(Unreachable, match="does not resolve"):
        says_hello(Machine("x", host="no-such-host.invalid"))
    with pytest.raises(Unreachable, match="refused"):
        says_hello(Machine("x", host="127.0.0.1", port=free_port("127.0.0.1")))


def test_a_host_that_says_nothing_is_unreachable_after_the_timeout(site: Site) -> None:
    site.sshd.pause()
    started = time.monotonic()
    try:
        with pytest.raises(Unreachable):
            connect(site.machine, timeout_s=0.5)
    finally:
        site.sshd.resume()
    assert time.monotonic() - started < 20


def test_a_jump_host_leads_to_a_machine_and_is_shared_and_closed_with_its_last_user(site: Site, tmp_path: Path) -> None:
    bastion = site.farm.add("bastion")
    inventory = site.farm.write_inventory(tmp_path / "inventory")
    inventory.ssh_config.write_text("Host nas\n  ProxyJump bastion\n" + inventory.ssh_config.read_text())
    with connect(site.machine), connect(site.machine) as second:
        assert run(second, "echo hello").stdout == b"hello\n"
        assert bastion.log_text.count("Accepted") == 1
    wait_until(lambda: not bastion.sessions(), "the jump host's connection has ended")
    plain = replace(site.machine, jump=f"{bastion.user}@bastion:{bastion.port}")
    assert says_hello(plain)


def test_an_untrusted_jump_host_is_refused_too(site: Site, tmp_path: Path) -> None:
    site.farm.add("bastion")
    inventory = site.farm.write_inventory(tmp_path / "inventory")
    inventory.known_hosts.write_text(site.sshd.known_hosts_line)
    with pytest.raises(UntrustedHost):
        says_hello(replace(site.machine, jump="bastion"))


def test_a_proxy_command_leads_to_a_machine_and_ends_with_the_connection(site: Site, tmp_path: Path) -> None:
    program = tmp_path / "proxy.py"
    program.write_text(
        "import os, select, socket, sys\n"
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "while True:\n"
        "    for ready in select.select([0, s], [], [])[0]:\n"
        "        data = os.read(0, 65536) if ready == 0 else s.recv(65536)\n"
        "        if not data: sys.exit()\n"
        "        s.sendall(data) if ready == 0 else os.write(1, data)\n"
    )
    site.add_config(f"Host nas\n  ProxyCommand python3 {program} %h %p\n")
    with connect(site.machine) as ssh:
        assert run(ssh, "cat", content_of(500_000)).stdout == content_of(500_000)
    wait_until(lambda: not running(str(program)), "the proxy command has ended")
    site.add_config("Host nas\n  ProxyCommand /bin/false\n")
    with pytest.raises(Unreachable):
        says_hello(site.machine)


def running(text: str) -> bool:
    """True while a process has ``text`` in its command line."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text in entry.read_text(errors="replace"):
                return True
        except OSError:
            continue
    return False


def test_a_host_that_says_nothing_is_given_up_after_one_timeout(site: Site) -> None:
    site.sshd.pause()
    begun = time.monotonic()
    with pytest.raises(Unreachable, match="handshake broke off"):
        connect(site.machine, timeout_s=4)
    assert time.monotonic() - begun < 8
