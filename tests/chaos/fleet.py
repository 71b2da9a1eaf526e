"""The processes of one round, with a way to each service that can be cut."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from tests.chaos.processes import Supervised
from tests.services.relay import Relay

WLMCTL = (sys.executable, "-m", "wlmctl")

#: In the environment of all that a round starts on this host.
TOKEN = "WLM_TEST_CHAOS"


class Member:
    """One process of the fleet, and its own ways to the broker and, for an orchestrator, to the store."""

    def __init__(self, process: Supervised, ways: Mapping[str, Relay]) -> None:
        self.process, self.ways = process, ways
        self.name = process.name


class Fleet:
    """Orchestrators and workers in ``folder``; ``token`` marks them and what they start."""

    def __init__(self, folder: Path, token: str, env: Mapping[str, str]) -> None:
        self.folder, self.token = folder, token
        self.env = {**os.environ, **env, TOKEN: token}
        self.members: list[Member] = []
        self.orders: list[str] = []

    def add(self, name: str, *command: str, env: Mapping[str, str], ways: Mapping[str, Relay]) -> None:
        """Start one more process and see that it goes on."""
        process = Supervised(name, [*WLMCTL, *command], self.folder, {**self.env, **env})
        self.members.append(Member(process, ways))

    def named(self, kind: str) -> list[Member]:
        """The members whose names begin so."""
        return [member for member in self.members if member.name.startswith(kind)]

    def order(self, *command: str, patience_s: float = 60) -> str:
        """What a user types, again while store or broker are away; its stdout."""
        deadline_s = time.monotonic() + patience_s
        while True:
            done = subprocess.run(
                [*WLMCTL, *command], cwd=self.folder, env=self.env, text=True, capture_output=True, timeout=120
            )
            self.orders.append(f"wlmctl {' '.join(command)}: {done.returncode} {done.stderr.strip()}")
            if done.returncode != 4 or time.monotonic() > deadline_s:
                break
            time.sleep(0.5)
        if done.returncode != 0:
            raise AssertionError(self.orders[-1])
        return done.stdout.strip()

    def end(self, kind: str, timeout_s: float = 60) -> list[str]:
        """Ask the members of that kind to end; what was wrong with it."""
        wrong = []
        for member in self.named(kind):
            code = member.process.end(timeout_s)
            if code != 0:
                wrong.append(f"{member.name} ended with {code}" if code is not None else f"{member.name} did not end")
        return wrong

    def close(self) -> None:
        """End whatever is left, by force."""
        for member in self.members:
            with suppress(ProcessLookupError):
                member.process.kill()
            for way in member.ways.values():
                way.close()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, 9)

    def processes(self) -> dict[int, str]:
        """The live processes that carry the token, by pid: what they are."""
        return dict(_marked(f"{TOKEN}={self.token}".encode()))


def _marked(wanted: bytes) -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                what = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if what:  # a zombie has none
                    yield int(entry.name), what.strip()
