"""Transfers share a machine: its bandwidth over all processes of a store, its connections with what is short."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services.sshd import Farm, Inventory, open_farm, require_sshd
from tests.waiting import wait_until
from wlmctl.store import open_database

#: What the machine ``alpha`` may move in a second.
BANDWIDTH = 2_000_000


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    require_sshd()
    with open_farm(tmp_path_factory.mktemp("farm"), ("alpha",)) as farm:
        yield farm


@pytest.fixture
def inventory(farm: Farm, tmp_path: Path) -> Inventory:
    inventory = farm.write_inventory(tmp_path / "inventory", extra={"alpha": "max_connections = 2"})
    open_database(f"sqlite:///{inventory.folder}/wlmctl.db").close()
    return inventory


class Site:
    """wlmctl as processes of one store."""

    def __init__(self, inventory: Inventory) -> None:
        self.folder, self._env = inventory.folder, {**os.environ, **inventory.env}
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "wlmctl", *arguments], cwd=self.folder, env=self._env,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *arguments: str) -> str:
        process = self.start(*arguments)
        out, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
        return out

    def file(self, name: str, size_bytes: int) -> str:
        (self.folder / name).write_bytes(os.urandom(size_bytes))
        return f"local:{name}"

    def set(self, line: str) -> None:
        """Add to the machine's settings, which are the last in the file."""
        with (self.folder / "wlmctl.toml").open("a") as file:
            file.write(f"{line}\n")

    def permits(self, kind: str) -> int:
        """How many permits of a kind there are in the store."""
        with open_database(f"sqlite:///{self.folder}/wlmctl.db") as db:
            return int(db.row("SELECT count(*) FROM permits WHERE login LIKE ?", (f"{kind}%",))[0])


@pytest.fixture
def site(inventory: Inventory) -> Iterator[Site]:
    site = Site(inventory)
    yield site
    for process in site.started:
        process.kill()
        process.communicate()


def summary(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The last line of a copy with ``-o json``."""
    out, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    done: dict[str, Any] = json.loads(out.splitlines()[-1])
    return done


def test_two_processes_share_a_machines_bandwidth(site: Site) -> None:
    site.set(f"bandwidth = {BANDWIDTH}")
    first = site.start("copy", site.file("a", 4_000_000), "alpha:a", "-o", "json")
    second = site.start("copy", site.file("b", 4_000_000), "alpha:b", "-o", "json")
    wait_until(lambda: site.permits("bandwidth ") == 2, "both transfer", 30)
    began_s = time.monotonic()
    ends = [summary(first), summary(second)]
    took_s = time.monotonic() - began_s
    # 8 MB at 2 MB a second are 4 s; the first second may have been one's own
    assert 2.0 < took_s < 9
    assert all(end["duration_s"] > 2.4 for end in ends), "one alone would have taken 2 s"
    assert site.permits("") == 0


def test_a_short_transfer_and_other_work_are_not_stuck_behind_a_long_one(farm: Farm, site: Site) -> None:
    big = site.file("big", 20_000_000)
    long = site.start("copy", big, "alpha:big1", "--bwlimit", "1MB")
    wait_until(lambda: site.permits("transfer ") == 1, "the long transfer has its slot", 30)
    other = site.start("copy", big, "alpha:big2")
    assert other.stderr is not None
    assert "waits until fewer others transfer" in other.stderr.readline()
    assert site.permits("transfer ") == 1, "one of two connections stays free"
    began_s = time.monotonic()
    site.run("copy", site.file("little", 1000), "alpha:little")
    assert time.monotonic() - began_s < 10
    assert (farm["alpha"].home / "little").stat().st_size == 1000
    assert long.poll() is None, "it is still under way"


def test_who_waits_behind_a_killed_transfer_goes_on(site: Site) -> None:
    big = site.file("big", 20_000_000)
    long = site.start("copy", big, "alpha:big3", "--bwlimit", "1MB")
    wait_until(lambda: site.permits("transfer ") == 1, "the long transfer has its slot", 30)
    long.kill()
    long.wait(10)
    other = site.start("copy", big, "alpha:big4", "-o", "json")
    assert summary(other)["files"] == 1
