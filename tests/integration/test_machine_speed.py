"""``machine test --speed``: what is measured over real sshd processes, and what it says limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.relay import Relay
from tests.services.sshd import Farm, Inventory, open_farm, require_sshd
from tests.waiting import wait_until
from wlmctl.connections import ConnectionPool, open_transport
from wlmctl.machine import Machine
from wlmctl.machine_speed import Speed, measure
from wlmctl.worker.places import resolve_scratch


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    require_sshd()
    with open_farm(tmp_path_factory.mktemp("farm"), ("alpha",)) as farm:
        yield farm


@pytest.fixture
def inventory(farm: Farm, tmp_path: Path) -> Inventory:
    return farm.write_inventory(tmp_path / "inventory")


def wlmctl(inventory: Inventory, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "wlmctl", *arguments], cwd=inventory.folder, env={**os.environ, **inventory.env},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def probes(farm: Farm) -> list[Path]:
    """What a measurement has left."""
    return list((farm["alpha"].home / ".wlmctl").glob(".speed*"))


def test_every_figure_is_measured_shown_and_nothing_is_left(farm: Farm, inventory: Inventory) -> None:
    process = wlmctl(inventory, "machine", "test", "alpha", "--speed", "-o", "json")
    out, told = process.communicate(timeout=150)
    assert process.returncode == 0, told
    (found,) = json.loads(out)["machines"]
    speed = found["speed"]
    figures = ("login_s", "round_trip_s", "up_bytes_s", "down_bytes_s", "hash_bytes_s", "disk_bytes_s")
    for figure in (*figures, "small_files_s", "commands_s"):
        assert speed[figure] > 0, figure
    assert speed["up_bytes_s"] > 1e6
    assert {limit["of"] for limit in speed["limits"]} >= {"up", "down"}
    assert probes(farm) == []


def test_an_interrupted_measurement_leaves_nothing(farm: Farm, inventory: Inventory) -> None:
    process = wlmctl(inventory, "machine", "test", "alpha", "--speed")
    wait_until(lambda: probes(farm), "it has begun to measure")
    process.send_signal(2)
    process.communicate(timeout=150)
    assert process.returncode == 130
    assert probes(farm) == []


def measured(
    farm: Farm,
    inventory: Inventory,
    monkeypatch: pytest.MonkeyPatch,
    relay: Relay | None = None,
    bandwidth_bytes_s: int | None = None,
) -> Speed:
    """Measure the machine in this process, over a way of that kind."""
    if relay is not None:
        inventory = farm.write_inventory(inventory.folder, ways={"alpha": (relay.address, relay.port)})
    for name, value in inventory.env.items():
        monkeypatch.setenv(name, value)
    pool = ConnectionPool(open_transport)
    try:
        return measure(Machine("alpha", host="alpha", bandwidth_bytes_s=bandwidth_bytes_s), pool, resolve_scratch)
    finally:
        pool.close_all()


def by(speed: Speed) -> dict[str, str]:
    return {limit.of: limit.by for limit in speed.limits}


def test_a_narrow_line_with_long_ways_is_told_from_other_limits(
    farm: Farm, inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = farm["alpha"]
    with Relay(machine.address, machine.port, round_trip_s=0.05, bytes_per_s=3_000_000) as relay:
        speed = measured(farm, inventory, monkeypatch, relay)
    assert 0.05 <= speed.round_trip_s < 0.2
    assert 500_000 < speed.up_bytes_s < 3_500_000
    assert by(speed).items() >= {"up": "line", "down": "line", "small files": "round trip"}.items()


def test_a_bandwidth_that_is_set_is_kept_to_and_named(
    farm: Farm, inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_s = time.monotonic()
    speed = measured(farm, inventory, monkeypatch, bandwidth_bytes_s=2_000_000)
    assert speed.up_bytes_s < 2_500_000
    assert (by(speed)["up"], by(speed)["down"]) == ("setting", "setting")
    assert time.monotonic() - began_s < 60, "the largest size alone would take as long"
