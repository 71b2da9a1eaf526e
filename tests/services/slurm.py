"""A private Slurm: munged, slurmctld and slurmd processes on loopback ports, without accounting.

Works as root, since slurmd starts jobs as their user. ``env`` makes Slurm's commands talk to it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.services.ports import free_port
from tests.services.processes import send
from tests.services.sshd import Sshd

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
_START_TIMEOUT_S = 120.0
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def is_available() -> bool:
    """True where a Slurm can be started."""
    return os.geteuid() == 0 and all(shutil.which(name, path=_PATH) for name in _PROGRAMS)


def require_slurm() -> None:
    """Skip the test where no Slurm can be started; fail it in CI."""
    import pytest

    if not is_available():
        message = "these tests need root and Slurm (Debian: slurm-wlm, munge)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)


@dataclass
class Slurm:
    """One cluster with its nodes; the first partition, ``main``, is the default. ``lines`` are further settings."""

    folder: Path
    nodes: Sequence[str] = ("n1", "n2")
    cpus: int = 8
    lines: Sequence[str] = ()
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def env(self) -> Mapping[str, str]:
        """What Slurm's commands need in their environment."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    @property
    def environment(self) -> str:
        """The same as shell text before a command."""
        return "".join(f"{name}='{value}'; export {name}; " for name, value in self.env.items())

    def start(self) -> None:
        """Start all of it and wait until every node takes jobs."""
        (self.folder / "state").mkdir(parents=True)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        (self.folder / "slurm.conf").write_text("\n".join([*self._settings(), *self.lines]) + "\n")
        # not used, but slurmd does not start where it finds none while it looks for its kind
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
        self._start("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self._path('munge.socket')}",
                    f"--pid-file={self._path('munged.pid')}", f"--log-file={self._path('munged.log')}",
                    f"--seed-file={self._path('munged.seed')}")  # fmt: skip
        self._wait(lambda: (self.folder / "munge.socket").exists(), "munged's socket")
        self.start_controller()
        for node in self.nodes:
            self.start_node(node)
        self._wait(lambda: self.run("sinfo", "-h", "-o", "%T %D").split() == ["idle", str(len(self.nodes))], "nodes")

    def _settings(self) -> list[str]:
        host = socket.gethostname().partition(".")[0]
        ports = [free_port("0.0.0.0") for _ in range(len(self.nodes) + 1)]
        return [
            "ClusterName=wlm",
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmctldPort={ports[0]}",
            "SlurmUser=root",
            "SlurmdUser=root",
            "AuthType=auth/munge",
            f"AuthInfo=socket={self._path('munge.socket')}",
            "CredType=cred/munge",
            f"StateSaveLocation={self._path('state')}",
            f"SlurmdSpoolDir={self._path('spool.%n')}",
            f"SlurmctldPidFile={self._path('slurmctld.pid')}",
            f"SlurmdPidFile={self._path('slurmd.%n.pid')}",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_CPU",
            "SwitchType=switch/none",
            "MpiDefault=none",
            "ReturnToService=2",
            "MailProg=/bin/true",
            "MinJobAge=30",
            "KillWait=2",
            "SchedulerParameters=batch_sched_delay=0,sched_interval=5",
            "SlurmdParameters=config_overrides",
            *(
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={self.cpus} RealMemory=4000"
                for node, port in zip(self.nodes, ports[1:], strict=True)
            ),
            f"PartitionName=main Nodes={','.join(self.nodes)} Default=YES State=UP MaxTime=INFINITE",
        ]

    def start_controller(self) -> None:
        """Start slurmctld, again after ``kill``, and wait until it answers."""
        self._start("slurmctld", "-D")
        self._wait(lambda: "UP" in self.run("scontrol", "ping"), "slurmctld")

    def pid(self, name: str) -> int:
        """The process of a daemon."""
        return self._daemons[name].pid

    def is_alive(self, name: str) -> bool:
        """True for a daemon that has not ended."""
        return name in self._daemons and self._daemons[name].poll() is None

    def undrain(self) -> None:
        """As its administrator does: a controller that forgot its last seconds drains nodes over jobs it gave twice."""
        if "drain" in self.run("sinfo", "-h", "-o", "%T"):
            for node in self.nodes:
                self.run("scontrol", "update", f"NodeName={node}", "State=RESUME")

    def start_node(self, node: str) -> None:
        """Start the slurmd of a node."""
        self._start("slurmd", "-D", "-N", node, name=node)

    def kill(self, name: str) -> None:
        """SIGKILL to a daemon: ``slurmctld``, ``munged`` or a node's name."""
        daemon = self._daemons.pop(name)
        daemon.kill()
        daemon.wait()

    def stop(self, name: str) -> None:
        """SIGTERM to a daemon: a controller saves all that it knows."""
        daemon = self._daemons.pop(name)
        daemon.terminate()
        daemon.wait()

    def run(self, *command: str) -> str:
        """The output of one of Slurm's commands, whatever its exit code."""
        env = {**os.environ, **self.env}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False).stdout

    def greet(self, machine: Sshd) -> None:
        """Make the logins of this machine find the cluster."""
        exports = "".join(f"export {name}='{value}'\n" for name, value in self.env.items())
        (machine.home / ".bashrc").write_text(exports)

    def queue(self) -> list[list[str]]:
        """Every job that the controller knows: id, state, name."""
        return [line.split() for line in self.run("squeue", "-a", "-h", "-t", "all", "-o", "%i %T %j").splitlines()]

    def close(self) -> None:
        """End all of it, and what it has started."""
        doomed = self._jobs()
        for name in list(self._daemons):
            self.kill(name)
        send([*doomed, *self._jobs()], signal.SIGKILL)

    def _jobs(self) -> list[int]:
        """The pids of slurmstepd processes and of jobs: they have our SLURM_CONF in their environment."""
        wanted, found = f"SLURM_CONF={self.env['SLURM_CONF']}".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0") and int(entry.name) != os.getpid():
                    found.append(int(entry.name))
        return found

    def _path(self, name: str) -> str:
        return str(self.folder / name)

    def _start(self, program: str, *arguments: str, name: str | None = None) -> None:
        name = name or program
        command = [shutil.which(program, path=_PATH) or program, *arguments]
        env = {**os.environ, **self.env}
        with open(self.folder / f"{name}.out", "ab") as log:
            self._daemons[name] = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _wait(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not is_so():
            ended = [name for name, daemon in self._daemons.items() if daemon.poll() is not None]
            if ended or time.monotonic() > deadline:
                logs = "\n".join(f"{name}: {(self.folder / f'{name}.out').read_text()[-2000:]}" for name in ended)
                raise RuntimeError(f"Slurm does not start, waiting for {what}: {logs}")
            time.sleep(0.05)


@contextmanager
def open_slurm(folder: Path, lines: Sequence[str] = (), *, cpus: int = 8) -> Iterator[Slurm]:
    """A running cluster, ended at the end of the ``with``."""
    slurm = Slurm(folder, lines=lines, cpus=cpus)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.close()
