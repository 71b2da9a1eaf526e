"""A cluster to measure on: a private Slurm with two nodes of 8 CPUs, and an sshd that is its login node."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fleets import until
from benchmarks.process import take, wlmctl
from tests.services.slurm import Slurm, open_slurm
from tests.services.sshd import Inventory, Sshd, open_farm
from tests.services.sshd_log import VERBOSE, Traffic
from wlmctl.store import open_database

#: All jobs of one CPU, as they are submitted by both.
_BARE = "i=0; while [ $i -lt {count} ]; do sbatch -Q -n1 -o /dev/null --wrap '{command}'; i=$((i+1)); done"


@dataclass(frozen=True, slots=True)
class Times:
    """When, in seconds since its beginning, all was submitted and all had ended; what the login node saw of it."""

    submitted_s: float
    ended_s: float
    traffic: Traffic


@dataclass(slots=True)
class Site:
    """The cluster and how to use it, with wlmctl and without."""

    folder: Path
    slurm: Slurm
    login: Sshd
    inventory: Inventory
    runs: int = 0

    def run(self, count: int, command: str, more: str = "") -> Times:
        """``wlmctl run`` of so many jobs, by what its store says."""
        self.runs += 1
        folder = self.folder / f"run-{self.runs}"
        folder.mkdir()
        (folder / "many.yaml").write_text(
            f"name: many\ntasks:\n  it: {{type: job, machine: cluster, foreach: {{n: 1..{count}}}, "
            f"command: '{command}'{more}}}\n"
        )
        store = f"sqlite:///{folder}/wlmctl.db"
        env = {**self.inventory.env, "WLMCTL_STORE": store, "WLMCTL_CONFIG": str(self.inventory.config)}
        before = len(self.login.log_text)
        take([*wlmctl(), "run", "many.yaml"], folder, env)
        with open_database(store) as db:
            [(began_s,)] = db.rows("SELECT min(time) FROM events WHERE target = 'assigned'")
            [(submitted_s,)] = db.rows("SELECT max(time) FROM events WHERE target = 'deferred'")
            [(ended_s, ended)] = db.rows(
                "SELECT max(time), count(*) FROM events WHERE task IS NOT NULL AND target = 'succeeded'"
            )
        if ended != count:
            raise SystemExit(f"{ended} of {count} jobs succeeded (see {folder})")
        return Times(submitted_s - began_s, ended_s - began_s, Traffic.of(self.login.log_text[before:]))

    def bare(self, count: int, command: str) -> Times:
        """A loop of ``sbatch`` on the login node itself, and the time until the queue is empty."""
        began_s = time.monotonic()
        loop = _BARE.format(count=count, command=command)
        subprocess.run(["sh", "-c", loop], env={**os.environ, **self.slurm.env}, stdout=subprocess.DEVNULL, check=True)
        submitted_s = time.monotonic() - began_s
        until(lambda: not self.slurm.run("squeue", "-h").strip(), "the queue is empty", 900, look_s=0.1)
        return Times(submitted_s, time.monotonic() - began_s, Traffic())

    def srun(self) -> float:
        """Seconds that ``srun true`` takes."""
        return take(["srun", "-Q", "-n1", "true"], self.folder, self.slurm.env).wall_s


@contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    """The cluster, ended at the end of the ``with``."""
    with open_slurm(folder / "slurm") as slurm, open_farm(folder / "login", names=[]) as farm:
        login = farm.add("cluster", options=VERBOSE)
        slurm.greet(login)
        inventory = farm.write_inventory(folder / "site", extra={"cluster": 'batch = "slurm"\n'})
        yield Site(folder, slurm, login, inventory)
