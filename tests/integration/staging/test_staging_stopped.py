"""The process that copies is stopped, loses its connection meanwhile and goes on, or is killed and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services.relay import Relay, Way
from tests.services.sshd import Farm, Sshd
from tests.transfers import leftovers
from tests.waiting import wait_until

_SIZE_BYTES = 12_000_000


@dataclass
class Slow:
    """A machine ``nas`` at the end of a line that gets stuck, and a command that copies a file to it or from it."""

    relay: Relay
    server: Sshd
    folder: Path
    env: dict[str, str]
    way: Way

    @property
    def endpoints(self) -> list[str]:
        up = ["local:big", f"nas:{self.folder}/out"]
        return up if self.way == "up" else [f"nas:{self.folder}/big", "local:out"]

    def started(self, *command: str) -> subprocess.Popen[str]:
        """The command, once a good part of the file has arrived; no more of it does on this connection."""
        self.relay.fail("stall", self.way, after_bytes=10_000_000)
        process = subprocess.Popen(
            [sys.executable, "-m", "wlmctl", *command],
            cwd=self.folder, env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        wait_until(lambda: self.relay.has_failed and self.arrived_bytes() > 8_000_000, "it is stuck behind 8 MB")
        return process

    def arrived_bytes(self) -> int:
        """How much there is under temporary names."""
        return sum(path.stat().st_size for path in leftovers(self.folder))

    def lose_connection(self) -> None:
        """All connections end, and the client hears of it when it runs again."""
        self.relay.cut(loudly=True)
        self.relay.mend()
        wait_until(lambda: not self.server.sessions(), "the server's side of the connections has ended")


@pytest.fixture
def slow(own_farm: Farm, tmp_path: Path) -> Iterator[Callable[[str, Way], Slow]]:
    relays: list[Relay] = []

    def start(kind: str, way: Way) -> Slow:
        server = own_farm[kind]
        relays.append(Relay(server.address, server.port))
        machine = f'host = "{kind}"\ntransport = "{kind}"\ntransport_options = {{ timeout_s = 60 }}\n'
        inventory = own_farm.write_inventory(tmp_path, ways={kind: (relays[-1].address, relays[-1].port)})
        inventory.config.write_text(f'store = "sqlite:///wlmctl.db"\n[machines.nas]\n{machine}')
        (tmp_path / "big").write_bytes(os.urandom(_SIZE_BYTES))
        return Slow(relays[-1], server, tmp_path, {**os.environ, **inventory.env}, way)

    yield start
    for relay in relays:
        relay.close()


@pytest.mark.parametrize(("kind", "way"), [("sftp", "up"), ("scp", "down")])
def test_a_copy_that_is_stopped_while_its_connection_dies_tells_it_and_the_next_one_ends_well(
    slow: Callable[[str, Way], Slow], kind: str, way: Way
) -> None:
    line = slow(kind, way)
    copying = line.started("copy", *line.endpoints)
    copying.send_signal(signal.SIGSTOP)
    line.lose_connection()
    copying.send_signal(signal.SIGCONT)
    out, err = copying.communicate(timeout=100)
    assert copying.returncode in (1, 4), (out, err)
    assert len(err.splitlines()) == 1, err
    assert "nas" in err
    assert not (line.folder / "out").exists()
    again = subprocess.run(
        [sys.executable, "-m", "wlmctl", "copy", *line.endpoints, "-o", "json"],
        cwd=line.folder, env=line.env, capture_output=True, check=False, text=True, timeout=100,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert (line.folder / "out").read_bytes() == (line.folder / "big").read_bytes()
    summary = json.loads(again.stdout.splitlines()[-1])
    assert summary["resumed_bytes"] > 4_000_000
    assert summary["resumed_bytes"] + summary["sent_bytes"] == _SIZE_BYTES
    assert leftovers(line.folder) == []


@pytest.mark.parametrize(("kind", "way"), [("sftp", "down"), ("scp", "up")])
def test_a_copy_that_is_killed_is_gone_on_with_by_the_same_command(
    slow: Callable[[str, Way], Slow], kind: str, way: Way
) -> None:
    line = slow(kind, way)
    copying = line.started("copy", *line.endpoints)
    copying.kill()
    copying.communicate()
    line.lose_connection()
    assert not (line.folder / "out").exists()
    again = subprocess.run(
        [sys.executable, "-m", "wlmctl", "copy", *line.endpoints, "-o", "json"],
        cwd=line.folder, env=line.env, capture_output=True, check=False, text=True, timeout=100,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert (line.folder / "out").read_bytes() == (line.folder / "big").read_bytes()
    assert json.loads(again.stdout.splitlines()[-1])["resumed_bytes"] > 4_000_000
    assert leftovers(line.folder) == []


@pytest.mark.long
@pytest.mark.parametrize(("kind", "way"), [("sftp", "down"), ("scp", "up")])
def test_an_experiment_whose_worker_is_stopped_while_its_connection_dies_succeeds(
    slow: Callable[[str, Way], Slow], kind: str, way: Way
) -> None:
    line = slow(kind, way)
    source, to = line.endpoints
    (line.folder / "e.yaml").write_text(
        json.dumps(
            {
                "name": "staged",
                "machines": {"nas": "nas"},
                "tasks": {
                    "move": {"type": "stage", "from": source, "to": to.replace("local:", f"local:{line.folder}/")}
                },
            }
        )
    )
    running = line.started("run", "e.yaml")
    running.send_signal(signal.SIGSTOP)
    line.lose_connection()
    running.send_signal(signal.SIGCONT)
    out, err = running.communicate(timeout=100)
    assert running.returncode == 0, (out, err)
    assert (line.folder / "out").read_bytes() == (line.folder / "big").read_bytes()
    assert leftovers(line.folder) == []
