"""Hosts that answer and do not let anybody work: a second factor, maintenance, an expired password; real servers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.services.ssh_site import Site, site
from tests.services.sshd import Sshd
from tests.waiting import wait_until
from wlmctl.connections import ConnectionPool, open_transport
from wlmctl.errors import LoginRefused, TurnedAway, Unreachable
from wlmctl.machine import Machine
from wlmctl.machine_check import check_machine
from wlmctl.transport import FileInfo, Runs
from wlmctl.worker.places import resolve_scratch

__all__ = ["site"]

#: As a login node closes its doors: while the file is there, whatever is asked for gets its text and an end.
DOOR = """#!/bin/sh
if [ -e {notice} ]; then cat {notice} >&2; exit 254; fi
case $SSH_ORIGINAL_COMMAND in
internal-sftp*) exec /usr/lib/openssh/sftp-server ;;
*) exec sh -c "$SSH_ORIGINAL_COMMAND" ;;
esac
"""


class Door:
    """A machine that can be closed for maintenance."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.notice, script = folder / "notice", folder / "door"
        script.write_text(DOOR.format(notice=self.notice))
        script.chmod(0o755)
        self.sshd: Sshd = site.farm.add("door", options=[f"ForceCommand {script}"])
        site.farm.write_inventory(site.inventory.folder)
        self.machine = Machine("door", host="door")

    def close(self, text: str = "Down for maintenance until 18:00\n") -> None:
        self.notice.write_text(text)


@pytest.fixture
def door(site: Site, tmp_path: Path) -> Door:
    return Door(site, tmp_path)


@pytest.mark.parametrize("transport", ["sftp", "scp", "openssh"])
def test_a_host_under_maintenance_is_unreachable_with_its_own_words(door: Door, transport: str) -> None:
    machine = replace(door.machine, transport=transport)
    with open_transport(machine) as opened:
        assert isinstance(opened, Runs)
        assert opened.run("echo open").stdout == b"open\n"
        door.close()
        with pytest.raises(TurnedAway, match="it says: Down for maintenance until 18:00"):
            opened.run("echo closed")
    # beside SFTP, which ssh asks for first, a host cannot say anything
    said = "runs no command" if transport == "openssh" else "Down for maintenance until 18:00"
    with pytest.raises(Unreachable, match=said):
        open_transport(machine).close()


def test_an_expired_password_is_said_with_what_to_do(door: Door) -> None:
    door.close("WARNING: Your password has expired.\nPassword change required but no TTY available.\n")
    with pytest.raises(TurnedAway) as refused:
        open_transport(door.machine).close()
    assert "WARNING: Your password has expired. Password change required" in str(refused.value)
    assert str(refused.value).endswith("log in by hand and change the password")


def test_machine_test_says_what_a_closed_host_says(door: Door) -> None:
    door.close()
    checks = list(check_machine(door.machine, ConnectionPool(open_transport), resolve_scratch))
    (shell,) = [check for check in checks if check.part == "shell"]
    assert shell.state == "unreachable"
    assert "Down for maintenance until 18:00" in shell.text
    assert shell is checks[-1]


def test_machine_test_says_what_a_host_says_where_an_answer_is_expected(site: Site) -> None:
    site.farm.add("echoing", options=["ForceCommand echo Down for maintenance; exit 1"])
    site.farm.write_inventory(site.inventory.folder)
    checks = list(check_machine(Machine("echoing", host="echoing"), ConnectionPool(open_transport), resolve_scratch))
    assert (checks[-1].part, checks[-1].state) == ("shell", "unreachable")
    assert "it says: Down for maintenance" in checks[-1].text


def test_machine_test_asks_for_no_key_where_a_person_is_wanted(site: Site) -> None:
    methods = "AuthenticationMethods publickey,keyboard-interactive"
    site.farm.add("both", options=[methods, "KbdInteractiveAuthentication yes"])
    site.farm.write_inventory(site.inventory.folder)
    checks = list(check_machine(Machine("both", host="both"), ConnectionPool(open_transport), resolve_scratch))
    assert (checks[-1].part, checks[-1].state, checks[-1].hint) == ("login", "unreachable", "")
    assert "log in by hand and leave that open" in checks[-1].text


def test_a_second_factor_is_named_with_the_way_that_is_left(site: Site) -> None:
    for name, methods, said in (
        ("both", "publickey,keyboard-interactive", "was taken, but the host also wants keyboard-interactive"),
        ("only", "keyboard-interactive", "the host takes no keys, only keyboard-interactive"),
    ):
        site.farm.add(name, options=[f"AuthenticationMethods {methods}", "KbdInteractiveAuthentication yes"])
        site.farm.write_inventory(site.inventory.folder)
        with pytest.raises(LoginRefused) as refused:
            open_transport(Machine(name, host=name)).close()
        assert said in str(refused.value)
        assert 'log in by hand and leave that open, transport = "openssh" with control_path' in str(refused.value)


def test_what_a_host_says_to_a_login_that_it_refuses_is_repeated(site: Site, tmp_path: Path) -> None:
    (tmp_path / "banner").write_text("This account has ended.\nAsk the desk.\n")
    sshd = site.farm.add("spoken", options=[f"Banner {tmp_path / 'banner'}"])
    site.farm.write_inventory(site.inventory.folder)
    sshd.authorized_keys.write_text("")
    with pytest.raises(LoginRefused, match=r"the host says: This account has ended\. Ask the desk\."):
        open_transport(Machine("spoken", host="spoken")).close()


def test_a_host_that_allows_one_session_at_a_time_has_its_files_and_no_shell(site: Site) -> None:
    site.farm.add("narrow", options=["MaxSessions 1"])
    site.farm.write_inventory(site.inventory.folder)
    for number in range(5):  # who comes first differs
        with open_transport(Machine("narrow", host="narrow")) as transport:
            assert not isinstance(transport, Runs)
            path = f"{transport.home()}/made-{number}"
            transport.write(path, [b"abc"], FileInfo(path, "file", size_bytes=3))
            assert b"".join(transport.read(path)) == b"abc"


@pytest.mark.long
def test_an_experiment_waits_for_a_host_under_maintenance_and_goes_on_when_it_opens_again(
    door: Door, site: Site
) -> None:
    cli = CommandLine(site.inventory.folder, site.inventory.env)
    step = "command: 'echo ${n} >> ~/ran; sleep 1', foreach: {n: 1..3}, resources: {cpus: 1}"
    cli.write("e.yaml", f"name: e\ntasks: {{it: {{type: job, machine: door, {step}}}}}\n")
    site.inventory.config.write_text(
        site.inventory.config.read_text().replace('host = "door"', 'host = "door"\ncpus = 1')
    )
    try:
        running = cli.start("run", "e.yaml")
        wait_until((door.sshd.home / "ran").exists, "the first job", 60)
        door.close()  # with a login that is open, a job that runs, and others that wait
        wait_until(lambda: "machine door is held, its tasks wait" in cli.said(running), "the hold", 60)
        assert "it says: Down for maintenance until 18:00" in cli.said(running)
        assert "Down for maintenance until 18:00" in cli.run("status", cli.ids()[0]).stdout
        door.notice.unlink()
        assert running.wait(100) == 0, cli.said(running)
        told = [json.loads(line)["kind"] for line in cli.run("events", cli.ids()[0], "-o", "json").stdout.splitlines()]
        assert [kind for kind in told if kind in ("held", "released")] == ["held", "released"]
        assert {task["attempt"] for task in cli.tasks(cli.ids()[0]).values()} == {1}
        assert sorted((door.sshd.home / "ran").read_text().split()) == ["1", "2", "3"]
    finally:
        cli.close()
