"""A fleet to measure: an orchestrator and workers as processes, on one store and one vhost."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from benchmarks.process import wlmctl
from wlmctl.experiment import read
from wlmctl.machine import Machine
from wlmctl.plugins import task_type
from wlmctl.runtime.submit import submit
from wlmctl.store import Database, experiments, open_database, workers
from wlmctl.store.rows import ExperimentRow

T = TypeVar("T")

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Fleet:
    """The processes, and a connection of the measuring process to their store."""

    folder: Path
    env: Mapping[str, str]
    db: Database
    orchestrator: subprocess.Popen[bytes] = field(init=False)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """One more process; its stderr is in a file."""
        with (self.folder / f"{command[0]}-{len(self.workers)}.log").open("wb") as log:
            return subprocess.Popen(
                [*wlmctl(), *command], cwd=self.folder, env={**os.environ, **self.env}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def add_workers(self, count: int, slots: int) -> None:
        """Start workers, and wait until the leader knows them all."""
        first = len(self.workers)
        for number in range(first, first + count):
            self.workers.append(self.start("worker", "--slots", str(slots), "--name", f"w{number}"))
        total = len(self.workers)
        until(lambda: len(workers.live(self.db)) == total, f"{total} workers are known", 60 + 2 * count)

    def submit(self, path: Path, machines: Mapping[str, Machine] = MappingProxyType({})) -> tuple[int, float]:
        """Write the experiment into the store: its number, and when that was committed."""
        _, seq = submit(self.db, read(str(path), task_type=task_type, machines=machines))
        return seq, time.time()

    def wait(self, seq: int, timeout_s: float = 600, *, look_s: float = 0.02) -> float:
        """When the experiment has succeeded; ``SystemExit`` when it ends otherwise."""

        def ended() -> ExperimentRow | None:
            row = experiments.get(self.db, seq)
            return row if row is not None and row.ended is not None else None

        row = until(ended, f"experiment {seq} has ended", timeout_s, look_s=look_s)
        if row.state != "succeeded":
            raise SystemExit(f"{row.id} has {row.state}: {row.reason} (see {self.folder})")
        assert row.ended is not None
        return row.ended

    def close(self) -> None:
        """End all processes."""
        for process in [*self.workers, self.orchestrator]:
            process.kill()
            process.wait()
        self.db.close()


@contextmanager
def running(folder: Path, store: str, broker: str, env: Mapping[str, str], settings: str = "") -> Iterator[Fleet]:
    """A fleet with an orchestrator and no worker yet; ``settings`` are lines of its wlmctl.toml."""
    folder.mkdir()
    (folder / "wlmctl.toml").write_text(f'{settings}\n[machines.local]\nscratch = "{folder}/scratch"\n')
    fleet = Fleet(folder, {**env, "WLMCTL_STORE": store, "WLMCTL_BROKER": broker}, open_database(store, create=True))
    fleet.orchestrator = fleet.start("orchestrator")
    try:
        yield fleet
    finally:
        fleet.close()


def until(look: Callable[[], T | None], what: str, timeout_s: float, *, look_s: float = 0.02) -> T:
    """What ``look`` gives once that is true; ``SystemExit`` names ``what`` after the time-out."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := look()):
        if time.monotonic() > deadline_s:
            raise SystemExit(f"waited {timeout_s:g} s in vain until {what}")
        time.sleep(look_s)
    return found


def cpu_s(pid: int) -> float:
    """The processor time that a process has taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def memory_bytes(process: subprocess.Popen[bytes], which: str = "VmRSS") -> int:
    """The memory that a process has (``VmHWM``: has had at most)."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(which)
