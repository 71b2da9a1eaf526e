"""Transfers of a running experiment: how far they are is shown, and a cancel stops them wherever they are."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import CommandLine
from tests.services.relay import Relay
from tests.services.sshd import Farm, open_farm, require_sshd
from tests.transfers import leftovers
from tests.waiting import wait_until

#: A cancel stops a transfer within a second; the tests' host is busy with other things.
PROMISED_S = 3.0


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    require_sshd()
    with open_farm(tmp_path_factory.mktemp("farm")) as farm:
        yield farm


@pytest.fixture
def line(farm: Farm, tmp_path: Path) -> Iterator[CommandLine]:
    inventory = farm.write_inventory(tmp_path / "site", extra={"alpha": 'bandwidth = "4MB"'})
    line = CommandLine(inventory.folder, inventory.env)
    with (line.folder / "big").open("wb") as file:
        file.truncate(240_000_000)  # a minute at the rate of alpha: nothing here waits for its end
    yield line
    line.close()


def begin(line: CommandLine, source: str, target: str) -> tuple[str, subprocess.Popen[str]]:
    """Run an experiment that stages this in the background; its id, once that is under way."""
    text = f"name: moving\ntasks:\n  up: {{type: stage, from: '{source}', to: '{target}'}}\n"
    process = line.start("run", line.write("e.yaml", text))

    def found() -> str:
        (one,) = line.json("status")["experiments"] or [{"id": ""}]
        return one["id"] if one["id"] and up(line, one["id"])["state"] == "running" else ""

    return wait_until(found, "the transfer is under way", 60), process


def up(line: CommandLine, identifier: str) -> dict[str, Any]:
    """The one task of the experiment."""
    ((task,),) = (experiment["tasks"] for experiment in line.json("status", identifier)["experiments"])
    return dict(task)


def cancelled_in_s(line: CommandLine, identifier: str) -> float:
    """How long it takes from the cancel until the task has ended, by the store's own word."""
    line.run("cancel", identifier)
    began_s = time.time()
    wait_until(lambda: up(line, identifier)["state"] == "cancelled", "the transfer is cancelled", 60)
    return datetime.fromisoformat(up(line, identifier)["ended"]).timestamp() - began_s


def hashing(farm: Farm, name: str) -> list[str]:
    """The programs on a machine that compute a digest now."""
    running = []
    for pid in farm[name].jobs():
        with suppress(OSError):
            running.append(Path(f"/proc/{pid}/comm").read_text().strip())
    return [program for program in running if program in ("openssl", "sha256sum", "shasum")]


def test_status_shows_how_far_a_transfer_is_and_a_cancel_stops_it(farm: Farm, line: CommandLine) -> None:
    identifier, _ = begin(line, "local:big", "alpha:~/big")
    told = wait_until(lambda: up(line, identifier)["progress"], "the store knows how far it is", 60)
    assert told["bytes_total"] == 240_000_000
    assert 0 < told["bytes_done"] < 240_000_000
    assert (told["files_done"], told["files_total"], told["what"]) == (0, 1, "copying")

    def at_its_rate() -> Any:
        now = up(line, identifier)["progress"]
        is_steady = now and now["bytes_done"] > told["bytes_done"] and 2_000_000 < now["rate_bytes_s"] < 6_000_000
        return is_steady and now

    assert wait_until(at_its_rate, "it goes on, at the rate of its machine", 60)["left_s"] > 2
    shown = next(row for row in line.run("status", identifier).stdout.splitlines() if row.startswith("up"))
    assert "copying" in shown
    assert "of 229 MiB" in shown
    assert "left" in shown
    assert cancelled_in_s(line, identifier) < PROMISED_S
    assert up(line, identifier)["progress"] is None
    assert not (farm["alpha"].home / "big").exists()
    assert leftovers(farm["alpha"].home) == []


def test_a_cancel_stops_a_transfer_with_a_machine_that_has_fallen_silent(farm: Farm, line: CommandLine) -> None:
    machine = farm["beta"]
    with Relay(machine.address, machine.port) as relay:
        farm.write_inventory(line.folder, ways={"beta": (relay.address, relay.port)})
        relay.fail("stall", "up", 8_000_000)
        identifier, _ = begin(line, "local:big", "beta:~/silent")
        wait_until(lambda: relay.has_failed, "the machine has fallen silent", 60)
        assert cancelled_in_s(line, identifier) < PROMISED_S
    assert not (machine.home / "silent").exists()
    assert leftovers(machine.home) == []


def test_a_cancel_does_not_wait_for_a_digest_at_the_far_end(farm: Farm, line: CommandLine) -> None:
    for name in ("alpha", "beta"):
        with (farm[name].home / "huge").open("wb") as file:
            file.truncate(40 << 30)
    identifier, _ = begin(line, "alpha:~/huge", "beta:~/huge")
    for name in ("alpha", "beta"):
        wait_until(partial(hashing, farm, name), f"{name} computes a digest", 60)
    assert cancelled_in_s(line, identifier) < PROMISED_S


def test_a_run_that_is_interrupted_goes_on_with_what_it_has_sent(farm: Farm, line: CommandLine) -> None:
    (line.folder / "big").write_bytes(os.urandom(24_000_000))
    identifier, running = begin(line, "local:big", "alpha:~/again")
    home = farm["alpha"].home

    def has_sent() -> bool:
        return any(path.stat().st_size > 5_000_000 for path in home.glob(".again.wlm-*"))

    wait_until(has_sent, "a part has arrived", 60)
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130
    assert not (home / "again").exists()
    line.run("resume", identifier)
    assert (home / "again").read_bytes() == (line.folder / "big").read_bytes()
    assert "bytes resumed" in line.run("logs", identifier, "up").stdout
    assert leftovers(home) == []
