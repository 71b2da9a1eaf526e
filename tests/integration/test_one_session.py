"""Hosts that allow one session at a time on a connection (``MaxSessions 1``): all goes on, one after the other."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from wlmctl_transport_scp import open_scp

from tests.commandline import CommandLine
from tests.services.ssh_site import Site, site
from tests.transfers import tree
from wlmctl.errors import Broken
from wlmctl.machine import Machine
from wlmctl.testing.transport import content_of, info_of

__all__ = ["site"]


@pytest.fixture
def narrow(site: Site) -> Machine:
    site.farm.add("narrow", options=["MaxSessions 1"])
    site.farm.write_inventory(site.inventory.folder, transports={"narrow": "scp"})
    return Machine("narrow", host="narrow")


@pytest.mark.parametrize("transport", ["scp", "sftp"])
def test_a_folder_is_copied_there_and_back_and_compared(
    narrow: Machine, site: Site, tmp_path: Path, transport: str
) -> None:
    inventory = site.farm.write_inventory(site.inventory.folder, transports={"narrow": transport})
    cli = CommandLine(tmp_path, {**inventory.env, "WLMCTL_CONFIG": str(inventory.config)})
    source, far = tmp_path / "source", site.farm["narrow"].home / "to"
    (source / "below").mkdir(parents=True)
    for number in range(3):
        (source / f"large-{number}").write_bytes(os.urandom(3_000_000))
        (source / "below" / f"small-{number}").write_bytes(os.urandom(number))
    cli.run("copy", f"local:{source}/", f"narrow:{far}/")
    cli.run("copy", f"narrow:{far}/", f"local:{tmp_path}/back/")
    assert tree(far) == tree(tmp_path / "back") == tree(source)
    assert "6 there already" in cli.run("copy", f"local:{source}/", f"narrow:{far}/").stdout


def test_machine_test_finds_what_the_host_has(narrow: Machine, site: Site, tmp_path: Path) -> None:
    cli = CommandLine(tmp_path, {**site.inventory.env, "WLMCTL_CONFIG": str(site.inventory.config)})
    said = cli.run("machine", "test", "narrow").stdout
    assert "sh, home" in said
    assert "problem" not in said


def test_one_thread_waits_for_the_session_of_another(narrow: Machine, tmp_path: Path) -> None:
    content = content_of(3 << 20)
    with open_scp(narrow, {}) as transport, ThreadPoolExecutor() as threads:
        transport.write(f"{tmp_path}/made", [content], info_of(content))
        slow = threads.submit(transport.run, "sleep 0.5; echo slow")  # type: ignore[attr-defined]
        others = [threads.submit(transport.digest, f"{tmp_path}/made") for _ in range(3)]  # type: ignore[attr-defined]
        assert b"".join(transport.read(f"{tmp_path}/made")) == content
        assert slow.result().stdout == b"slow\n"
        assert len({each.result() for each in others}) == 1


def test_who_would_wait_for_itself_is_told_why_at_once(narrow: Machine, tmp_path: Path) -> None:
    content = content_of(9 << 20)
    with open_scp(narrow, {}) as transport:
        transport.write(f"{tmp_path}/made", [content], info_of(content))
        with pytest.raises(Broken, match=r"allows no more sessions at a time \(MaxSessions of its sshd\)"):
            transport.write(f"{tmp_path}/again", transport.read(f"{tmp_path}/made"), info_of(content))
        assert transport.run("echo goes on").stdout == b"goes on\n"  # type: ignore[attr-defined]
