"""Everything around a Slurm job is killed at random: each attempt's command runs once, and nobody has to help."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.services.slurm import Slurm
from tests.services.sshd import Farm
from tests.waiting import wait_until

JOBS = 60
FAULTS_S = 60.0
SETTINGS = 'batch = "slurm"\n[machines.cluster.batch_options]\nlost_after = "3s"\n'
SWEEP = f"""
name: sweep
tasks:
  it:
    type: job
    machine: cluster
    foreach: {{n: 1..{JOBS}}}
    command: "echo $WLMCTL_ATTEMPT >> witness-${{n}}; sleep 1.${{n}}"
"""


class Faults:
    """What may happen to a cluster and to who uses it; each fault by its name."""

    def __init__(self, cli: CommandLine, slurm: Slurm, cluster: Farm, dice: random.Random) -> None:
        self._cli, self._slurm, self._cluster, self._dice = cli, slurm, cluster, dice
        self.running: subprocess.Popen[str] = cli.start("run", "sweep.yaml")
        self.identifier = str(wait_until(cli.ids, "the experiment")[0])

    def any(self) -> None:
        """One fault."""
        faults: list[Callable[[], None]] = [self._run, self._run, self._connections, self._connections]
        self._dice.choice([*faults, self._controller, self._requeue])()

    def go_on(self) -> None:
        """Start the run again where it was killed."""
        if self.running.poll() is not None:
            self.running = self._cli.start("resume", self.identifier)

    def scene(self) -> str:
        """What has not come to an end, for whoever reads the failure."""
        tasks = self._cli.tasks(self.identifier)
        unfinished = [name for name, task in tasks.items() if task["state"] != "succeeded"]
        said = [self._cli.run("explain", self.identifier, name, code=None).stdout for name in unfinished[:5]]
        folders = self._cluster["cluster"].home.rglob(f".wlmctl/{unfinished[0]}/*/*") if unfinished else ()
        files = [f"{path}: {path.read_text(errors='replace')[:200]}" for path in folders if path.is_file()]
        slurm = [self._slurm.run("squeue", "-a", "-o", "%i %T %j %r"), self._slurm.run("sinfo", "-N", "-l")]
        numbers = [path.read_text().strip() for path in self._cluster["cluster"].home.rglob("jobid")]
        log = (self._slurm.folder / "slurmctld.out").read_text(errors="replace").splitlines()
        slurm += [line for line in log if any(f"JobId={number} " in line for number in numbers)][-60:]
        return "\n".join([*said, *files, *slurm, self._cli.said(self.running)])

    def _run(self) -> None:
        self.running.kill()
        self.running.wait()
        self.go_on()

    def _connections(self) -> None:
        self._cluster["cluster"].kill_sessions()

    def _controller(self) -> None:
        self._slurm.kill("slurmctld")
        time.sleep(self._dice.uniform(0, 2))
        self._slurm.start_controller()
        self._slurm.undrain()

    def _requeue(self) -> None:
        running = [number for number, state, _ in self._slurm.queue() if state == "RUNNING"]
        if running:
            self._slurm.run("scontrol", "requeue", self._dice.choice(running))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_each_attempt_runs_once_whatever_is_killed(
    cluster: Farm, slurm: Slurm, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("WLMCTL_TEST_SEED") or random.SystemRandom().randrange(10**6))
    print("seed", seed)
    dice = random.Random(seed)
    inventory = cluster.write_inventory(tmp_path / "site", extra={"cluster": SETTINGS})
    cli = CommandLine(inventory.folder, inventory.env)
    try:
        cli.write("sweep.yaml", SWEEP)
        faults = Faults(cli, slurm, cluster, dice)
        end_s = time.monotonic() + FAULTS_S
        while time.monotonic() < end_s and cli.state(faults.identifier) == "running":
            time.sleep(dice.uniform(0.2, 4))
            faults.any()
        faults.go_on()
        deadline = time.monotonic() + 120
        while faults.running.poll() is None:
            slurm.undrain()
            assert time.monotonic() < deadline, f"the experiment does not end: {faults.scene()}"
            time.sleep(1)
        assert faults.running.returncode == 0, faults.scene()
        tasks = cli.tasks(faults.identifier)
        assert Counter(task["state"] for task in tasks.values()) == {"succeeded": JOBS}
        for number in range(1, JOBS + 1):
            (witness,) = cluster["cluster"].home.rglob(f"witness-{number}")
            attempts = Counter(witness.read_text().split())
            assert set(attempts.values()) == {1}, f"job {number} ran twice: {attempts}"
            assert str(tasks[f"it[{number}]"]["attempt"]) in attempts
        # a controller that lost its last seconds shows jobs as running that have ended, until it asks their nodes,
        # and as held what has run, until the next poll
        cli.write("last.yaml", "name: last\ntasks: {it: {type: job, machine: cluster, command: 'true'}}\n")
        cli.run("run", "last.yaml")
        wait_until(lambda: [row for row in slurm.queue() if row[1] == "PENDING"] == [], "nothing waits any more")
    finally:
        cli.close()
