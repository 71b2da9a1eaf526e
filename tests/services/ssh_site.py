"""One sshd of a test's own, with an SSH configuration and an inventory entry that lead to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.sshd import Farm, Sshd, require_sshd
from wlmctl.machine import Machine
from wlmctl.ssh.command import run
from wlmctl.ssh.connection import connect


class Site:
    """One machine of its own, an SSH configuration that leads to it, and the inventory's entry for it."""

    def __init__(self, farm: Farm, machine: Sshd, folder: Path) -> None:
        self.farm, self.sshd = farm, machine
        self.inventory = farm.write_inventory(folder)
        self.machine = Machine(machine.name, host=machine.name)

    @property
    def known_hosts(self) -> Path:
        return self.inventory.known_hosts

    def add_config(self, text: str) -> None:
        config = self.inventory.ssh_config
        config.write_text(text + "\n" + config.read_text())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    require_sshd()
    farm = Farm(tmp_path / "farm", first=60)
    try:
        site = Site(farm, farm.add("nas"), tmp_path / "inventory")
        monkeypatch.setenv("WLMCTL_SSH_CONFIG", str(site.inventory.ssh_config))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        yield site
    finally:
        farm.close()


def says_hello(machine: Machine) -> bool:
    with connect(machine, timeout_s=10) as ssh:
        return run(ssh, "echo hello").stdout == b"hello\n"
