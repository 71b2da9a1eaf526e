"""Two sshd of this host with files to copy, and every way to copy them, as one command line each."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.figures import Spread, interleaved
from benchmarks.process import Taken, take, wlmctl
from tests.services.relay import Relay
from tests.services.sshd import Farm, open_farm

#: What both ends of every way speak: the fastest cipher that OpenSSH has.
CIPHER = "aes128-gcm@openssh.com"
TRANSPORTS = ("sftp", "scp")
#: Of a copy between this host (an empty name) and a machine.
DIRECTIONS = {"up": ("", "alpha"), "down": ("alpha", "")}
SMALL_BYTES = 4096
#: How long the servers' processes may outlive the command that had them started.
_GONE_S = 10.0


@dataclass(frozen=True, slots=True)
class Course:
    """From where to where one copy goes: names of machines (empty: this host) and absolute paths on them."""

    source: str
    from_path: Path
    target: str
    to_path: Path

    def ends(self, this_host: str = "") -> list[str]:
        """Both ends as ``machine:path``; on this host ``this_host`` and the path."""
        pairs = ((self.source, self.from_path), (self.target, self.to_path))
        return [f"{machine}:{path}" if machine else f"{this_host}{path}" for machine, path in pairs]


Way = Callable[[Course], Taken]


class Tools:
    """OpenSSH's programs and rsync, as ``ssh_config`` leads them to the machines."""

    def __init__(self, folder: Path, ssh_config: Path) -> None:
        self._folder = folder
        self._options = ["-F", str(ssh_config), "-c", CIPHER]

    def scp(self, course: Course, *flags: str) -> Taken:
        """``scp -r`` with further ``flags``."""
        return take(["scp", "-q", "-r", *flags, *self._options, *course.ends()], self._folder)

    def sftp(self, course: Course) -> Taken:
        """``sftp``, which cannot copy between two machines."""
        lines = f"{'get' if course.source else 'put'} -r {course.from_path} {course.to_path}\n".encode()
        machine = course.source or course.target
        return take(["sftp", "-q", *self._options, "-b", "-", machine], self._folder, stdin=lines)

    def cat(self, course: Course) -> Taken:
        """One file through this host: ``ssh A cat | ssh B 'cat >'``."""
        ssh = shlex.join(["ssh", *self._options])
        line = f"{ssh} {course.source} cat {course.from_path} | {ssh} {course.target} 'cat > {course.to_path}'"
        return take(["sh", "-c", line], self._folder)

    def rsync(self, course: Course) -> Taken:
        """``rsync`` of a whole folder to one that is not there yet."""
        source, target = course.ends()
        return take(["rsync", "-rW", "-e", shlex.join(["ssh", *self._options]), f"{source}/", target], self._folder)


class Site:
    """The machines ``alpha`` and ``beta``, and this host, all on one file system with one set of files."""

    def __init__(self, folder: Path, farm: Farm) -> None:
        self.folder, self.farm = folder, farm
        self._made = 0
        for one in TRANSPORTS:
            for other in TRANSPORTS:
                farm.write_inventory(folder / f"{one}-{other}", transports={"alpha": one, "beta": other})
        self.ssh_config = folder / "sftp-sftp" / "ssh_config"
        self.tools = Tools(folder, self.ssh_config)

    def base(self, machine: str) -> Path:
        """Where files lie on a machine (empty: this host)."""
        return self.farm[machine].home if machine else self.folder

    def wlmctl(self, transports: str, verify: str = "size", ssh_config: Path | None = None) -> Way:
        """A whole ``wlmctl copy``; ``transports`` are those of alpha and beta, as in ``sftp-scp``."""
        env = {
            "WLMCTL_SSH_CONFIG": str(ssh_config or self.ssh_config),
            "WLMCTL_CONFIG": str(self.folder / transports / "wlmctl.toml"),
        }
        command = [*wlmctl(), "copy", "--verify", verify]
        return lambda course: take([*command, *course.ends("local:")], self.folder, env)

    def add_file(self, name: str, size_bytes: int) -> float:
        """A file on this host and on alpha that nothing can compress; its MB."""
        with (self.folder / name).open("wb") as file:
            for at in range(0, size_bytes, 1 << 20):
                file.write(os.urandom(min(size_bytes - at, 1 << 20)))
        os.link(self.folder / name, self.base("alpha") / name)
        return size_bytes / 1e6

    def add_folder(self, name: str, count: int) -> float:
        """A folder with so many small files on this host and on alpha; their number."""
        for base in (self.folder, self.base("alpha")):
            (base / name).mkdir()
        for number in range(count):
            path = self.folder / name / f"{number:06}.bin"
            path.write_bytes(os.urandom(SMALL_BYTES))
            os.link(path, self.base("alpha") / name / path.name)
        return float(count)

    def remove(self, name: str) -> None:
        """Remove what ``add_file`` or ``add_folder`` has made."""
        for base in (self.folder, self.base("alpha")):
            _removed(base / name)

    @contextmanager
    def course(self, what: str, source: str, target: str) -> Iterator[Course]:
        """A way for ``what`` to a place that is not there yet; ``SystemExit`` when not everything has arrived."""
        self._made += 1
        folder = self.base(target) / f"to-{self._made}"
        folder.mkdir()
        course = Course(source, self.base(source) / what, target, folder / what)
        try:
            yield course
            if _sizes(course.from_path) != _sizes(course.to_path):
                raise SystemExit(f"{course.to_path} is not what {course.from_path} is")
        finally:
            _removed(folder)

    @contextmanager
    def long_line(self, round_trip_s: float) -> Iterator[Path]:
        """An SSH configuration in which the way to alpha is a long one."""
        alpha = self.farm["alpha"]
        with Relay(alpha.address, alpha.port, round_trip_s=round_trip_s) as relay:
            ways = {"alpha": (relay.address, relay.port)}
            yield self.farm.write_inventory(self.folder / "long_line", ways=ways).ssh_config

    def cpu_s(self) -> float:
        """The processor time that the servers have taken so far."""
        return sum(_cpu_s(pid) for machine in self.farm.machines.values() for pid in machine.processes())

    def taken(self, what: str, source: str, target: str, way: Way) -> tuple[float, float]:
        """Seconds of one copy, and of the processors for it on both sides."""
        before_s, others = self.cpu_s(), self._sessions()
        with self.course(what, source, target) as course:
            taken = way(course)
        deadline_s = time.monotonic() + _GONE_S
        while self._sessions() - others and time.monotonic() < deadline_s:
            time.sleep(0.01)
        return taken.wall_s, taken.cpu_s + self.cpu_s() - before_s

    def _sessions(self) -> set[int]:
        return {pid for machine in self.farm.machines.values() for pid in machine.sessions()}


@dataclass(frozen=True, slots=True)
class Found:
    """What one way took, run by run: seconds, and seconds of the processors."""

    wall: Spread
    cpu: Spread


def in_turn(runs: int, measured: Mapping[str, Callable[[], tuple[float, float]]]) -> dict[str, Found]:
    """Call each in turn, ``runs`` times over, as ``interleaved`` does."""
    cpus: dict[str, list[float]] = {name: [] for name in measured}

    def wall_s(name: str) -> float:
        seconds, cpu_s = measured[name]()
        cpus[name].append(cpu_s)
        return seconds

    found = interleaved(runs, {name: partial(wall_s, name) for name in measured})
    return {name: Found(spread, Spread(cpus[name])) for name, spread in found.items()}


@contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    """Both machines, which offer the cipher before all others."""
    with open_farm(folder / "farm") as farm:
        yield Site(folder, farm)


def _cpu_s(pid: int) -> float:
    """Of a process and of the children that it has waited for; nothing for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _sizes(path: Path) -> Sequence[int]:
    return [path.stat().st_size] if path.is_file() else sorted(entry.stat().st_size for entry in os.scandir(path))


def _removed(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()
