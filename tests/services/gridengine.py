"""A private Grid Engine: sge_qmaster and sge_execd on loopback ports, one host, one queue ``main``, with accounting.

Works as root, since sge_execd starts jobs as their user. ``env`` makes its commands talk to it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.services.ports import free_port
from tests.services.processes import send

_PROGRAMS = Path("/usr/lib/gridengine")
_SHARED = Path("/usr/share/gridengine")
_ROOT = Path("/var/lib/gridengine")
_START_TIMEOUT_S = 120.0
_QUEUE = {
    "qname": "main",
    "hostlist": "localhost",
    "slots": "16",
    "pe_list": "smp",
    "shell": "/bin/sh",
    "load_thresholds": "NONE",  # a busy host takes jobs all the same
}
_ENVIRONMENT = """pe_name smp
slots 999
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule $pe_slots
control_slaves FALSE
job_is_first_task TRUE
urgency_slots min
accounting_summary FALSE
qsort_args NONE
"""


def is_available() -> bool:
    """True where a Grid Engine can be started."""
    return os.geteuid() == 0 and all((_PROGRAMS / name).exists() for name in ("sge_qmaster", "sge_execd"))


def require_gridengine() -> None:
    """Skip the test where no Grid Engine can be started; fail it in CI."""
    import pytest

    if not is_available():
        message = "these tests need root and Grid Engine (Debian: gridengine-master, gridengine-exec)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)


@dataclass
class GridEngine:
    """One cluster of one host with 16 slots."""

    folder: Path
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _ports: tuple[int, int] = field(default_factory=lambda: (free_port("127.0.0.1"), free_port("127.0.0.1")))

    @property
    def env(self) -> Mapping[str, str]:
        """What the commands need in their environment."""
        master, node = self._ports
        return {
            "SGE_ROOT": str(self.folder / "root"),
            "SGE_CELL": "default",
            "SGE_QMASTER_PORT": str(master),
            "SGE_EXECD_PORT": str(node),
        }

    @property
    def environment(self) -> str:
        """The same as shell text."""
        return "".join(f"{name}='{value}'; export {name}; " for name, value in self.env.items())

    def start(self) -> None:
        """Start all of it and wait until the host takes jobs."""
        common = self.folder / "root" / "default" / "common"
        for path in (common, self.folder / "db", self.folder / "qmaster" / "job_scripts", self.folder / "execd"):
            path.mkdir(parents=True)
        for name in ("bin", "lib", "util", "utilbin"):
            (self.folder / "root" / name).symlink_to(_ROOT / name)
        (common / "bootstrap").write_text("".join(f"{line}\n" for line in self._bootstrap()))
        (common / "act_qmaster").write_text("localhost\n")
        (common / "host_aliases").write_text(f"localhost {socket.gethostname()}\n")
        self._initialize()
        self.start_master()
        self._configure()
        self._start("sge_execd")
        self._wait(lambda: "/0/16" in self.run("qstat", "-f") and " -NA- " not in self.run("qstat", "-f"), "its host")

    def _bootstrap(self) -> list[str]:
        return [
            "admin_user none",
            "default_domain none",
            "ignore_fqdn true",
            "spooling_method berkeleydb",
            "spooling_lib libspoolb",
            f"spooling_params {self.folder / 'db'}",
            "binary_path /usr/sbin",
            f"qmaster_spool_dir {self.folder / 'qmaster'}",
            "security_mode none",
            "listener_threads 2",
            "worker_threads 2",
            "scheduler_threads 1",
        ]

    def _initialize(self) -> None:
        own = {
            "execd_spool_dir": str(self.folder / "execd"),
            "min_uid": "0",
            "min_gid": "0",
            "load_report_time": "00:00:01",
            "reporting_params": "accounting=true reporting=false flush_time=00:00:01 accounting_flush_time=00:00:00",
        }
        text = (_SHARED / "default-configuration").read_text()
        (self.folder / "configuration").write_text(changed(text, own))
        self._program("spoolinit", "berkeleydb", "libspoolb", str(self.folder / "db"), "init")
        self._program("spooldefaults", "configuration", str(self.folder / "configuration"))
        self._program("spooldefaults", "complexes", str(_SHARED / "util/resources/centry"))
        self._program("spooldefaults", "usersets", str(_SHARED / "util/resources/usersets"))
        self._program("spooldefaults", "managers", "root")

    def _configure(self) -> None:
        """A submit host, an environment for several slots, a queue, and a scheduler that waits for nothing."""
        self.run("qconf", "-as", "localhost")
        changes = {"schedule_interval": "0:0:1", "flush_submit_sec": "1", "flush_finish_sec": "1"}
        changes |= {"job_load_adjustments": "NONE"}
        self._add("-Ap", _ENVIRONMENT)
        self._add("-Aq", changed(self.run("qconf", "-sq"), _QUEUE))
        self._add("-Msconf", changed(self.run("qconf", "-ssconf"), changes))

    def _add(self, how: str, text: str) -> None:
        (self.folder / "change").write_text(text)
        self.run("qconf", how, str(self.folder / "change"))

    def start_master(self) -> None:
        """Start sge_qmaster, again after ``kill_master``, and wait until it answers."""
        self._start("sge_qmaster")
        self._wait(lambda: self._succeeds("qstat"), "sge_qmaster")

    def kill_master(self) -> None:
        """SIGKILL to sge_qmaster."""
        master = self._daemons.pop("sge_qmaster")
        master.kill()
        master.wait()

    def run(self, *command: str) -> str:
        """The output of one of its commands, whatever its exit code."""
        return self._command(*command).stdout

    def states(self, name: str) -> list[str]:
        """The states of the jobs of that name which are in the queue."""
        lines = self.run("qstat", "-u", "*", "-s", "a", "-r").splitlines()
        rows = [(row.split()[4], named.split()[-1]) for row, named in pairwise(lines) if "Full jobname:" in named]
        return [state for state, found in rows if found == name]

    def close(self) -> None:
        """End all of it, and what it has started."""
        doomed = self._processes()
        for daemon in self._daemons.values():
            daemon.kill()
            daemon.wait()
        send([*doomed, *self._processes()], signal.SIGKILL)

    def _processes(self) -> list[int]:
        wanted, found = f"SGE_ROOT={self.env['SGE_ROOT']}".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0") and int(entry.name) != os.getpid():
                    found.append(int(entry.name))
        return found

    def _succeeds(self, *command: str) -> bool:
        return self._command(*command).returncode == 0

    def _command(self, *command: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **self.env}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    def _program(self, name: str, *arguments: str) -> None:
        env = {**os.environ, **self.env}
        subprocess.run([str(_PROGRAMS / name), *arguments], env=env, capture_output=True, timeout=60, check=True)

    def _start(self, name: str) -> None:
        env = {**os.environ, **self.env, "SGE_ND": "1"}  # in the foreground
        with open(self.folder / f"{name}.out", "ab") as log:
            self._daemons[name] = subprocess.Popen(
                [str(_PROGRAMS / name)], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def _wait(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not is_so():
            ended = [name for name, daemon in self._daemons.items() if daemon.poll() is not None]
            if ended or time.monotonic() > deadline:
                logs = "\n".join(
                    f"{name}: {(self.folder / f'{name}.out').read_text()[-2000:]}" for name in self._daemons
                )
                raise RuntimeError(f"Grid Engine does not start, waiting for {what}: {logs}")
            time.sleep(0.05)


def changed(text: str, values: Mapping[str, str]) -> str:
    """Lines ``name value``, some of them with another value."""
    lines = (line.split(maxsplit=1) for line in text.splitlines() if line)
    return "".join(f"{name} {values.get(name, rest[0] if rest else '')}\n" for name, *rest in lines)


@contextmanager
def open_gridengine(folder: Path) -> Iterator[GridEngine]:
    """A running cluster, ended at the end of the ``with``."""
    assert shutil.which("qconf"), "the commands of Grid Engine are missing (Debian: gridengine-client)"
    engine = GridEngine(folder)
    try:
        engine.start()
        yield engine
    finally:
        engine.close()
