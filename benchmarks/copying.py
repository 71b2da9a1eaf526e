"""One large file and thousands of small ones, up, down and from machine to machine, beside OpenSSH's own tools.

The machines are sshd processes of this host. OpenSSH's tools compare nothing; ``wlmctl copy`` compares sha256 on both
ends unless it is told otherwise, and gives a file its name only after that. No figure is promised here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import options
from benchmarks.figures import Report, Spread, interleaved, ratio
from benchmarks.process import take, wlmctl
from tests.services.sshd import Farm, is_available, open_farm

#: Bytes of the large file; how many small ones there are, and the bytes of each.
LARGE_BYTES, SMALL_COUNT, SMALL_BYTES = 1 << 30, 5_000, 4_096

#: Direction to its two ends: an empty text is this host.
DIRECTIONS = {"up": ("", "alpha"), "down": ("alpha", ""), "across": ("alpha", "beta")}


@dataclass(frozen=True, slots=True)
class Course:
    """From where to where one copy goes: names of machines (empty: this host) and absolute paths on them."""

    source: str
    from_path: Path
    target: str
    to_path: Path


@dataclass(frozen=True, slots=True)
class Tools:
    """The ways to copy, each a command line for a course."""

    folder: Path
    ssh_config: Path

    def scp(self, course: Course) -> float:
        """OpenSSH's scp; between two machines through this host, as wlmctl does."""
        ends = [f"{machine}:{path}" if machine else str(path) for machine, path in _ends(course)]
        through = ["-3"] if course.source and course.target else []
        return take(["scp", "-q", "-r", "-F", str(self.ssh_config), *through, *ends], self.folder).wall_s

    def sftp(self, course: Course) -> float:
        """OpenSSH's sftp, which cannot copy between two machines."""
        verb = "get" if course.source else "put"
        lines = f"{verb} -r {course.from_path} {course.to_path}\n".encode()
        command = ["sftp", "-q", "-F", str(self.ssh_config), "-b", "-", course.source or course.target]
        return take(command, self.folder, stdin=lines).wall_s

    def wlmctl(self, course: Course, *, transport: str, verify: str) -> float:
        """``wlmctl copy`` with one of its transports."""
        ends = [f"{machine or 'local'}:{path}" for machine, path in _ends(course)]
        config = str(self.folder / transport / "wlmctl.toml")
        env = {"WLMCTL_SSH_CONFIG": str(self.ssh_config), "WLMCTL_CONFIG": config}
        return take([*wlmctl(), "copy", "--verify", verify, *ends], self.folder, env).wall_s


def _ends(course: Course) -> list[tuple[str, Path]]:
    return [(course.source, course.from_path), (course.target, course.to_path)]


def write_data(folder: Path, large_bytes: int, small_count: int) -> None:
    """``large``, a file, and ``small``, a folder: random bytes, which nothing can compress."""
    with (folder / "large").open("wb") as file:
        for _ in range(max(1, large_bytes >> 20)):
            file.write(os.urandom(min(large_bytes, 1 << 20)))
    (folder / "small").mkdir()
    for number in range(small_count):
        (folder / "small" / f"{number:05}.bin").write_bytes(os.urandom(SMALL_BYTES))


def copied(farm: Farm, folder: Path, what: str, source: str, target: str, copy: Callable[[Course], float]) -> float:
    """Seconds of one copy to a new place; ``SystemExit`` when not everything has arrived."""
    base = farm[target].home if target else folder
    numbers = len(list(base.glob("to-*")))
    course = Course(source, (farm[source].home if source else folder) / what, target, base / f"to-{numbers}" / what)
    course.to_path.parent.mkdir()
    seconds = copy(course)
    if _sizes(course.from_path) != _sizes(course.to_path):
        raise SystemExit(f"{course.to_path} is not what {course.from_path} is")
    if course.to_path.is_file():
        course.to_path.unlink()
    return seconds


def _sizes(path: Path) -> list[int]:
    return [path.stat().st_size] if path.is_file() else sorted(entry.stat().st_size for entry in path.iterdir())


def ways(tools: Tools, direction: str) -> dict[str, Callable[[Course], float]]:
    """The ways to copy in a direction; the first is the peer of all others."""
    found: dict[str, Callable[[Course], float]] = {"scp -3" if direction == "across" else "scp": tools.scp}
    if direction != "across":
        found["sftp"] = tools.sftp
    found["wlmctl, sftp"] = partial(tools.wlmctl, transport="sftp", verify="sha256")
    found["wlmctl, sftp, --verify size"] = partial(tools.wlmctl, transport="sftp", verify="size")
    found["wlmctl, scp"] = partial(tools.wlmctl, transport="scp", verify="sha256")
    return found


def measure(report: Report, folder: Path, settings: argparse.Namespace) -> None:
    """A table for the large file and one for the small ones."""
    if not is_available():
        print("no sshd here (Debian: openssh-server): not measured")
        return
    large_bytes, small_count = (4 << 20, 20) if settings.quick else (LARGE_BYTES, SMALL_COUNT)
    write_data(folder, large_bytes, small_count)
    with open_farm(folder / "farm") as farm:
        for transport in ("sftp", "scp"):
            farm.write_inventory(folder / transport, transports=dict.fromkeys(farm.machines, transport))
        for what in ("large", "small"):
            (shutil.copytree if what == "small" else shutil.copy)(folder / what, farm["alpha"].home / what)
        tools = Tools(folder, folder / "sftp" / "ssh_config")
        for what, title, unit, amount in (
            ("large", f"One file of {large_bytes >> 20:,} MiB", "MB/s", large_bytes / 1e6),
            ("small", f"{small_count:,} files of {SMALL_BYTES >> 10} KiB", "files/s", float(small_count)),
        ):
            if settings.only in what:
                report.title(title)
                compare(report, farm, folder, tools, what, unit, amount, settings.runs)


def compare(
    report: Report, farm: Farm, folder: Path, tools: Tools, what: str, unit: str, amount: float, runs: int
) -> None:
    """One table: each direction, each way."""
    rows = []
    for direction, (source, target) in DIRECTIONS.items():
        measured = {
            name: partial(copied, farm, folder, what, source, target, copy)
            for name, copy in ways(tools, direction).items()
        }
        found = interleaved(runs, measured)
        peer = next(iter(found.values()))
        rows += [
            (direction, name, spread.text(), Spread([amount / value for value in spread.values]).text("{:.0f}"),
             ratio(peer, spread).text())
            for name, spread in found.items()
        ]  # fmt: skip
    report.table(("", "", "s", unit, "x scp"), rows)


if __name__ == "__main__":
    sys.exit(options.run(measure, __doc__ or "", runs=3))
