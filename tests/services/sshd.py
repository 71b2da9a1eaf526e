"""Private sshd processes on loopback addresses; each is a machine with a login folder of its own.

For tests (the session fixture ``farm`` of ``fixtures.py``), the demo and benchmarks (``open_farm(folder)``).
Works as any user; every login is that of the caller, by a key that is made here.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services.ports import free_port
from tests.services.processes import descendants, send, stop

SSHD = "/usr/sbin/sshd"
TOKEN = "WLM_TEST_SSHD"
#: A command's first words that bind it, and all that it starts, by the modes of files, as root too.
OBEYING_MODES = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def is_available() -> bool:
    """True where an sshd can be started."""
    return os.access(SSHD, os.X_OK) and shutil.which("ssh-keygen") is not None


def make_key(path: Path, passphrase: str = "") -> Path:
    """A new ed25519 key pair at ``path`` and ``path``.pub."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", path.name, "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


class Sshd:
    """One machine: an sshd with its own host key and login folder (``home``), on one address and port.

    ``sftp_only``: no shell (ForceCommand internal-sftp). ``no_sftp``: no SFTP subsystem. ``options``: further lines
    of sshd_config, which win over the ones here. ``command``: words before sshd's own, as of ``OBEYING_MODES``.
    ``home``: that of another machine, as login nodes of one cluster have it.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        address: str,
        authorized: Sequence[Path],
        *,
        sftp_only: bool = False,
        no_sftp: bool = False,
        options: Sequence[str] = (),
        command: Sequence[str] = (),
        home: Path | None = None,
    ) -> None:
        self.name, self.address, self.port = name, address, free_port(address)
        self.user = getpass.getuser()
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self.home = home or self.folder / "home"
        self.home.mkdir(mode=0o700, exist_ok=True)
        self.host_key = make_key(self.folder / "host_key")
        self.authorized_keys = self.folder / "authorized_keys"
        self.authorized_keys.write_text("".join(key.with_name(key.name + ".pub").read_text() for key in authorized))
        self.token = uuid.uuid4().hex
        self._process: subprocess.Popen[bytes] | None = None
        self._command = command
        lines = list(options)
        assert " " not in str(folder), "sshd splits the arguments of internal-sftp at spaces"
        if sftp_only:
            lines += [f"ForceCommand internal-sftp -d {self.home}"]
        if not no_sftp:
            lines += [f"Subsystem sftp internal-sftp -d {self.home}"]
        self.config = self.folder / "sshd_config"
        self.config.write_text("\n".join([*lines, *self._settings()]) + "\n")

    def _settings(self) -> list[str]:
        return [
            f"ListenAddress {self.address}:{self.port}",
            f'HostKey "{self.host_key}"',
            f'AuthorizedKeysFile "{self.authorized_keys}"',
            f'SetEnv "HOME={self.home}" {TOKEN}={self.token}',
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "AcceptEnv LANG LC_*",
            "MaxStartups 200",
            "MaxSessions 100",
            "PrintMotd no",
            "UseDNS no",
        ]

    def __enter__(self) -> Sshd:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def log_text(self) -> str:
        """What the server has written to its log."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def public_host_key(self) -> str:
        """The host key as ``type base64``."""
        return " ".join(self.host_key.with_name("host_key.pub").read_text().split()[:2])

    @property
    def known_hosts_line(self) -> str:
        """The line of a known_hosts file that trusts this machine."""
        return self.known_hosts_line_at((self.address, self.port))

    def known_hosts_line_at(self, way: tuple[str, int]) -> str:
        """The same, for an address and port that lead to this machine."""
        return f"[{way[0]}]:{way[1]} {self.public_host_key}\n"

    def start(self) -> None:
        """Start the server and wait until it answers; again on the same port after ``stop``."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd, as root, separates its privileges
        with open(self.folder / "log", "ab") as log:
            command = [*self._command, SSHD, "-D", "-e", "-f", str(self.config)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 30
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"sshd {self.name} does not start:\n{self.log_text}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=5) as probe:
                return probe.recv(4) == b"SSH-"
        except OSError:
            return False

    @property
    def pid(self) -> int:
        """The process that listens."""
        assert self._process is not None
        return self._process.pid

    def sessions(self) -> list[int]:
        """The pids of the connections' processes and of all that they run."""
        return descendants(self._process.pid) if self._process else []

    def kill_sessions(self) -> None:
        """Kill each connection as a crash would, without a word to the other side; the server goes on."""
        send(self.sessions(), signal.SIGKILL)

    def stop(self) -> None:
        """End the server and its connections; jobs that have detached themselves go on."""
        if self._process is None:
            return
        doomed = self.sessions()
        self._process.kill()
        self._process.wait()
        self._process = None
        send(doomed, signal.SIGKILL)

    def pause(self) -> None:
        """Stop the server and its connections without ending them, as a hanging machine would."""
        stop(self.processes())

    def resume(self) -> None:
        """Go on after ``pause``."""
        send(self.processes(), signal.SIGCONT)

    def processes(self) -> list[int]:
        """The pids of the server, its connections' processes and all that they run."""
        return [*self.sessions(), *([self._process.pid] if self._process else [])]

    def close(self) -> None:
        """End the server and everything that was ever started through it, detached or not."""
        self.stop()
        send(self.jobs(), signal.SIGKILL)

    def jobs(self) -> list[int]:
        """The pids of all that was started through this machine and still runs."""
        wanted, found = f"{TOKEN}={self.token}".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found


@dataclass(frozen=True)
class Inventory:
    """The files that make wlmctl know a farm: a folder with ``wlmctl.toml``, and the environment to run it with."""

    folder: Path
    config: Path
    ssh_config: Path
    known_hosts: Path
    env: Mapping[str, str]


class Farm:
    """Several machines by name (each ``farm[name]`` an ``Sshd``) and the key that logs in to all of them."""

    def __init__(self, folder: Path, first: int = 2) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.key = make_key(folder / "user_key")
        self._next = first
        self.machines: dict[str, Sshd] = {}

    def __getitem__(self, name: str) -> Sshd:
        return self.machines[name]

    def add(self, name: str, **settings: Any) -> Sshd:
        """Start one more machine, of these settings of ``Sshd``, on the next loopback address."""
        address, self._next = f"127.0.0.{self._next}", self._next + 1
        machine = Sshd(self.folder, name, address, [self.key], **settings)
        machine.start()
        self.machines[name] = machine
        return machine

    def write_inventory(
        self,
        folder: Path,
        *,
        transports: Mapping[str, str] | None = None,
        extra: Mapping[str, str] | None = None,
        ways: Mapping[str, tuple[str, int]] | None = None,
    ) -> Inventory:
        """Write wlmctl.toml, an SSH config and known_hosts into ``folder``.

        ``extra``: TOML text a machine. ``ways``: the address and port of the relay through which a machine is reached.
        """
        folder.mkdir(parents=True, exist_ok=True)
        ssh_config, known_hosts = folder / "ssh_config", folder / "known_hosts"
        to = {name: (ways or {}).get(name, (m.address, m.port)) for name, m in self.machines.items()}
        known_hosts.write_text("".join(m.known_hosts_line_at(to[m.name]) for m in self.machines.values()))
        ssh_config.write_text("".join(self._host(m, to[m.name], known_hosts) for m in self.machines.values()))
        toml = ['store = "sqlite:///wlmctl.db"\n']
        for name in self.machines:
            transport = (transports or {}).get(name, "sftp")
            toml.append(
                f'[machines.{name}]\nhost = "{name}"\ntransport = "{transport}"\n{(extra or {}).get(name, "")}\n'
            )
        config = folder / "wlmctl.toml"
        config.write_text("\n".join(toml))
        return Inventory(folder, config, ssh_config, known_hosts, {"WLMCTL_SSH_CONFIG": str(ssh_config)})

    def _host(self, machine: Sshd, way: tuple[str, int], known_hosts: Path) -> str:
        return (
            f"Host {machine.name}\n  HostName {way[0]}\n  Port {way[1]}\n  User {machine.user}\n"
            f'  IdentityFile "{self.key}"\n  IdentitiesOnly yes\n  UserKnownHostsFile "{known_hosts}"\n'
            f"  GlobalKnownHostsFile /dev/null\n\n"
        )

    def close(self) -> None:
        """End every machine and all that was started through them."""
        for machine in self.machines.values():
            machine.close()


@contextmanager
def open_farm(folder: Path, names: Sequence[str] = ("alpha", "beta")) -> Iterator[Farm]:
    """A farm of running machines; all are ended at the end of the ``with``."""
    farm = Farm(folder)
    try:
        for name in names:
            farm.add(name)
        yield farm
    finally:
        farm.close()


def require_sshd() -> None:
    """Skip the test where no sshd can be started; fail it in CI."""
    import pytest  # here, since the demo and the benchmarks do without

    if not is_available():
        message = f"these tests need {SSHD} and ssh-keygen (Debian: openssh-server, openssh-client)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
