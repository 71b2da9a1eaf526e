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
    with open_farm(tmp_path_factory.mktemp("farm")) as farm:
        yield farm


@pytest.fixture
def inventory(farm: Farm, tmp_path: Path) -> Inventory:
    extra = {"alpha": "max_connections = 2", "beta": "max_connections = 1"}
    inventory = farm.write_inventory(tmp_path / "inventory", extra=extra)
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
        out, told = process.communicate(timeout=150)
        assert process.returncode == 0, told
        return out

    def file(self, name: str, size_bytes: int) -> str:
        (self.folder / name).write_bytes(os.urandom(size_bytes))
        return f"local:{name}"

    def set(self, line: str) -> None:
        """Add to the settings of the machine alpha."""
        file = self.folder / "wlmctl.toml"
        file.write_text(file.read_text().replace("[machines.alpha]", f"[machines.alpha]\n{line}"))

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
    out, told = process.communicate(timeout=150)
    assert process.returncode == 0, told
    done: dict[str, Any] = json.loads(out.splitlines()[-1])
    return done


def arrived_bytes(farm: Farm, name: str) -> int:
    """How much of a file that is still under way is on the machine."""
    return sum(path.stat().st_size for path in farm["alpha"].home.glob(f".{name}.wlm-*"))


def test_two_processes_share_a_machines_bandwidth(farm: Farm, site: Site) -> None:
    site.set(f"bandwidth = {BANDWIDTH}")
    for name in ("a", "b"):
        site.start("copy", site.file(name, 15_000_000), f"alpha:{name}")
    wait_until(lambda: site.permits("bandwidth ") == 2, "both have a share", 30)
    begun = arrived_bytes(farm, "a")
    # what each had sent before it knew of the other is behind them by then
    wait_until(lambda: arrived_bytes(farm, "a") > begun + 1.5 * BANDWIDTH, "they know of each other", 30)

    def shared() -> bool:
        """True when in this second, in which a busy host may hold up either, each had its half."""
        before, began_s = [arrived_bytes(farm, name) for name in ("a", "b")], time.monotonic()
        wait_until(lambda: arrived_bytes(farm, "a") > before[0] + BANDWIDTH / 2, "a goes on", 30)
        sent = [arrived_bytes(farm, name) - was for name, was in zip(("a", "b"), before, strict=True)]
        rates.append([count / (time.monotonic() - began_s) for count in sent])
        return 0.6 * BANDWIDTH < sum(rates[-1]) < 1.25 * BANDWIDTH and all(
            0.25 * BANDWIDTH < rate < 0.75 * BANDWIDTH for rate in rates[-1]
        )

    rates = list[list[float]]()
    assert any(shared() for _ in range(10)), rates


def test_a_short_transfer_and_other_work_are_not_stuck_behind_a_long_one(farm: Farm, site: Site) -> None:
    big = site.file("big", 60_000_000)
    long = site.start("copy", big, "alpha:big1", "--bwlimit", "1MB")
    wait_until(lambda: site.permits("transfer ") == 1, "the long transfer has its slot", 30)
    other = site.start("copy", big, "alpha:big2")
    assert other.stderr is not None
    assert "waits until fewer others transfer" in other.stderr.readline()
    assert site.permits("transfer ") == 1, "one of two connections stays free"
    began_s = time.monotonic()
    site.run("copy", site.file("little", 1000), "alpha:little")
    assert time.monotonic() - began_s < 40, "the long one takes 60 s"
    assert (farm["alpha"].home / "little").stat().st_size == 1000
    assert long.poll() is None, "it is still under way"


def test_who_waits_behind_a_killed_transfer_goes_on(site: Site) -> None:
    big = site.file("big", 20_000_000)
    long = site.start("copy", big, "alpha:big3", "--bwlimit", "1MB")
    wait_until(lambda: site.permits("transfer ") == 1, "the long transfer has its slot", 30)
    long.kill()
    long.wait(60)
    other = site.start("copy", big, "alpha:big4", "-o", "json")
    assert summary(other)["files"] == 1


def test_transfers_that_go_opposite_ways_between_machines_with_one_connection_do_not_wait_for_each_other(
    farm: Farm, site: Site
) -> None:
    file = site.folder / "wlmctl.toml"
    file.write_text(file.read_text().replace("max_connections = 2", "max_connections = 1"))
    for name in ("alpha", "beta"):
        (farm[name].home / "mine").write_bytes(os.urandom(2_000_000))
    pairs = [("alpha", "beta"), ("beta", "alpha")] * 2
    started = [
        site.start("copy", f"{one}:mine", f"{other}:of-{one}-{number}", "-o", "json")
        for number, (one, other) in enumerate(pairs)
    ]
    assert [summary(process)["files"] for process in started] == [1, 1, 1, 1]
