"""Thousands of jobs that do nothing on this host, beside GNU parallel and HyperQueue at the same width.

What is measured of each is the whole command: ``wlmctl run``, ``parallel --results --joblog``, and a Python program
that starts a HyperQueue LocalCluster, submits and waits. wlmctl writes a start fence, two logs and an exit file for
each job, and every change of its state into a store with ``synchronous=FULL``.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import options
from benchmarks.experiments import write_trivial
from benchmarks.figures import Report, Spread, interleaved, ratio
from benchmarks.process import take, wlmctl

#: Jobs of one run, and how many are to run at once.
JOBS, WIDTH = 2_000, 8

#: ``pip install hyperqueue`` into an environment of its own, and name that environment's Python here.
HYPERQUEUE_PYTHON = "WLMCTL_BENCH_HYPERQUEUE_PYTHON"

_HYPERQUEUE = f"""
import sys
from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig
with LocalCluster() as cluster:
    cluster.start_worker(WorkerConfig(cores={WIDTH}))
    client, job = cluster.client(), Job()
    for number in range(int(sys.argv[1])):
        job.program(["true"])
    client.wait_for_jobs([client.submit(job)])
"""


def run_wlmctl(folder: Path, jobs: int, width: int) -> float:
    """Seconds of ``wlmctl run`` with a new store, on a machine of ``width`` processors."""
    folder.mkdir()
    (folder / "wlmctl.toml").write_text(
        f'store = "sqlite:///store.db"\n[machines.local]\ncpus = {width}\nscratch = "{folder}/scratch"\n'
    )
    write_trivial(folder / "true.yaml", jobs, "job")
    return take([*wlmctl(), "run", "true.yaml"], folder).wall_s


def run_parallel(folder: Path, jobs: int, width: int) -> float:
    """Seconds of GNU parallel, which keeps each job's output in a folder and a line a job in its log."""
    folder.mkdir()
    (folder / "numbers").write_text("".join(f"{number}\n" for number in range(jobs)))
    command = [
        "parallel", "--will-cite", f"-j{width}", "--results", "results", "--joblog", "joblog", "-a", "numbers", "true #"
    ]  # fmt: skip
    return take(command, folder, {"HOME": str(folder), "PARALLEL_SHELL": "/bin/sh", "SHELL": "/bin/sh"}).wall_s


def run_hyperqueue(folder: Path, jobs: int, python: str) -> float:
    """Seconds of a HyperQueue server and worker in one process, with a stdout and a stderr file a job."""
    folder.mkdir()
    return take([python, "-c", _HYPERQUEUE, str(jobs)], folder).wall_s


def hyperqueue_python() -> str | None:
    """The Python that has the package ``hyperqueue``: this one, or the one that the environment names."""
    import importlib.util

    named = os.environ.get(HYPERQUEUE_PYTHON)
    return named or (sys.executable if importlib.util.find_spec("hyperqueue") else None)


def fresh(folder: Path, name: str, run: Callable[[Path], float]) -> Callable[[], float]:
    """``run`` in a new folder each time; all stay until the end, since ext4 is slow where files were just removed."""
    numbers = itertools.count(1)
    return lambda: run(folder / f"{name}-{next(numbers)}")


def measure(report: Report, folder: Path, settings: argparse.Namespace) -> None:
    """The table of jobs a second."""
    jobs = 40 if settings.quick else JOBS
    report.title(f"{jobs:,} jobs that are `true`, {WIDTH} at once")
    measured = {"wlmctl run": fresh(folder, "wlmctl", partial(run_wlmctl, jobs=jobs, width=WIDTH))}
    if shutil.which("parallel"):
        measured["parallel"] = fresh(folder, "parallel", partial(run_parallel, jobs=jobs, width=WIDTH))
    python = hyperqueue_python()
    if python:
        measured["HyperQueue"] = fresh(folder, "hyperqueue", partial(run_hyperqueue, jobs=jobs, python=python))
    found = interleaved(settings.runs, measured)
    ours = found["wlmctl run"]
    report.table(
        ("", "s", "jobs/s", "wlmctl is faster by"),
        [
            (name, spread.text(), Spread([jobs / value for value in spread.values]).text("{:.0f}"),
             ratio(spread, ours).text() + " x")
            for name, spread in found.items()
        ],
    )  # fmt: skip
    for name in ("parallel", "HyperQueue"):
        if name not in found:
            print(f"{name} is not installed here: not compared.\n")
    if "parallel" in found:
        report.promise("jobs/s beside GNU parallel", ratio(found["parallel"], ours).median, 1.0, at_least=True)


if __name__ == "__main__":
    sys.exit(options.run(measure, __doc__ or ""))
