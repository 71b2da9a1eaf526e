"""Machines for staging, and what is staged."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services.odd_sftp_server import odd_subsystem
from tests.services.sshd import Farm, open_farm, require_sshd
from tests.staged import ODD_NAMES, Ends, Odd
from wlmctl.connections import ConnectionPool, open_transport


@pytest.fixture(scope="module")
def own_farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    require_sshd()
    with open_farm(tmp_path_factory.mktemp("farm"), ("sftp", "scp", "openssh")) as farm:
        farm.add("files", sftp_only=True)
        yield farm


@pytest.fixture
def ends(own_farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    inventory = own_farm.write_inventory(tmp_path / "inventory")
    for name, value in inventory.env.items():
        monkeypatch.setenv(name, value)
    ends = Ends(own_farm, ConnectionPool(open_transport), tmp_path)
    yield ends
    ends.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    (data / "sub" / "empty").mkdir(parents=True)
    for name in ODD_NAMES:
        (data / "sub" / name).write_bytes(os.fsencode(name) * 3)
    (data / "big").write_bytes(os.urandom(2_500_000))
    (data / "nothing").touch()
    (data / "run").write_bytes(b"#!/bin/sh\n")
    (data / "run").chmod(0o755)
    os.utime(data / "run", (1_000_000_000, 1_000_000_000))
    (data / "link").symlink_to("sub/with space")
    (data / "dangling").symlink_to("no\nwhere")
    return data


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only, and not in every container")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Odd]:
    """Gives the ends of a machine ``odd`` whose SFTP server has these manners; it has no shell unless asked for."""
    require_sshd()
    farm = Farm(tmp_path / "farm", first=80)
    pool = ConnectionPool(open_transport)

    def start(*, shell: bool = False, **manners: Any) -> Ends:
        home = farm.folder / "odd" / "home"
        line = odd_subsystem(tmp_path / "sftp-server", home, **manners)
        machine = farm.add("odd", no_sftp=True, options=[line])
        inventory = farm.write_inventory(tmp_path / "inventory")
        for name, value in inventory.env.items():
            monkeypatch.setenv(name, value)
        assert machine.home == home
        return Ends(farm, pool, tmp_path, timeout_s=5, settings={} if shell else {"shell": "none"})

    yield start
    pool.close_all()
    farm.close()
