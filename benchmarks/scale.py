"""One experiment of 50,000 tasks: what submit, status and run take, and whether a task costs more among many.

The curve is drawn with a task type that does nothing, so that nothing but wlmctl itself is seen; with ``--long`` also
with jobs that are ``true``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks import options
from benchmarks.experiments import write_trivial
from benchmarks.figures import Report, Spread
from benchmarks.process import Taken, take, wlmctl
from wlmctl.testing import noop

#: Tasks of one experiment, as the curve goes.
SIZES = (1_000, 5_000, 20_000, 50_000)

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Point:
    """A run of ``tasks`` tasks."""

    tasks: int
    taken: Taken

    @property
    def cost_ms(self) -> float:
        """Milliseconds of wall time a task."""
        return self.taken.wall_s / self.tasks * 1000

    def cells(self) -> tuple[object, ...]:
        """One line of the table."""
        cpu_ms = self.taken.cpu_s / self.tasks * 1000
        return (f"{self.tasks:,}", f"{self.taken.wall_s:.1f}", f"{self.cost_ms:.2f}", f"{cpu_ms:.2f}",
                f"{self.taken.peak_bytes / MIB:.0f}")  # fmt: skip


def run_of(folder: Path, tasks: int, task_type: str, env: dict[str, str]) -> Point:
    """``wlmctl run`` with a new store."""
    folder.mkdir()
    try:
        (folder / "wlmctl.toml").write_text(
            f'store = "sqlite:///store.db"\n[machines.local]\ncpus = 8\nscratch = "{folder}/scratch"\n'
        )
        write_trivial(folder / "many.yaml", tasks, task_type)
        return Point(tasks, take([*wlmctl(), "run", "many.yaml"], folder, env))
    finally:
        shutil.rmtree(folder)


def curve(report: Report, folder: Path, sizes: tuple[int, ...], task_type: str, env: dict[str, str]) -> None:
    """The table of sizes; the memory of the largest and the flatness are promised."""
    report.title(f"A whole `wlmctl run`, tasks of type `{task_type}`")
    points = []
    for tasks in sizes:
        points.append(run_of(folder / "run", tasks, task_type, env))
        print("  ", *points[-1].cells(), file=sys.stderr, flush=True)
    report.table(("tasks", "s", "ms a task", "CPU ms a task", "peak MiB"), [point.cells() for point in points])
    report.promise(f"memory of a run, {task_type}", points[-1].taken.peak_bytes / MIB, 250, unit="MiB")
    # the smallest is left out: the start of the command is a large part of it
    report.promise(f"cost of a task, most beside few, {task_type}", points[-1].cost_ms / points[1].cost_ms, 1.25)


def stored(report: Report, folder: Path, tasks: int, runs: int) -> None:
    """Submitting the experiment, and looking at a store that has it."""
    report.title(f"An experiment of {tasks:,} tasks in the store")
    env = {"WLMCTL_STORE": f"sqlite:///{folder}/many.db"}
    write_trivial(folder / "many.yaml", tasks, "job")
    commands = {
        "submit": ["submit", "many.yaml"],
        "status": ["status"],
        "status ID": ["status", "ID"],
        "status -o json": ["status", "-o", "json"],
        "status ID -o json": ["status", "ID", "-o", "json"],
    }
    found: dict[str, list[Taken]] = {name: [] for name in commands}
    for _ in range(runs):
        for suffix in ("", "-wal", "-shm"):
            (folder / f"many.db{suffix}").unlink(missing_ok=True)
        for name, argv in commands.items():
            found[name].append(take([*wlmctl(), *("many-" if word == "ID" else word for word in argv)], folder, env))
    report.table(
        ("command", "s", "peak MiB"),
        [
            (
                name,
                Spread([each.wall_s for each in taken]).text(),
                f"{max(each.peak_bytes for each in taken) / MIB:.0f}",
            )
            for name, taken in found.items()
        ],
    )
    report.promise("submit", Spread([each.wall_s for each in found["submit"]]).median, 2, unit="s")
    report.promise("memory of submit", max(each.peak_bytes for each in found["submit"]) / MIB, 100, unit="MiB")
    for name in ("status", "status ID", "status -o json"):
        report.promise(name, Spread([each.wall_s for each in found[name]]).median, 0.5, unit="s")


def measure(report: Report, folder: Path, settings: argparse.Namespace) -> None:
    """All tables."""
    sizes = (20, 40) if settings.quick else SIZES
    if settings.only in "stored":
        stored(report, folder, sizes[-1], settings.runs)
    if settings.only in "noop":
        curve(report, folder, sizes, "noop", noop.install(folder / "site"))
    if settings.long and settings.only in "job":
        curve(report, folder, sizes, "job", {})


if __name__ == "__main__":
    sys.exit(options.run(measure, __doc__ or ""))
