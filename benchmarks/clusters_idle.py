"""An orchestrator with very many jobs in the queues of five clusters: what it takes while nothing happens.

    python -m benchmarks.clusters_idle [--quick]

The clusters are not there (``benchmarks/endless_queue.py``): what is measured is wlmctl's own part of asking for jobs.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import suppress
from pathlib import Path

from benchmarks import endless_queue, fleets, options
from benchmarks.figures import Report
from benchmarks.fleets import Fleet, cpu_s, memory_bytes, until
from tests.services.rabbitmq import open_rabbit
from wlmctl.machine import Machine

CLUSTERS = ("a", "b", "c", "d", "e")
MIB = 1 << 20


def deferred_jobs(fleet: Fleet, count: int) -> None:
    """Submit so many jobs to all clusters, and wait until they are in the queues."""
    tasks = "".join(
        f"  on-{name}: {{type: job, machine: {name}, foreach: {{n: 1..{count // len(CLUSTERS)}}}, command: 'true'}}\n"
        for name in CLUSTERS
    )
    path = fleet.folder / "many.yaml"
    path.write_text(f"name: many\ntasks:\n{tasks}")
    machines = {name: Machine(name, host=f"{name}.invalid", transport="nowhere", batch="endless") for name in CLUSTERS}
    seq, _ = fleet.submit(path, machines)
    until(lambda: _deferred(fleet, seq) == count, f"{count} jobs are in the queues", 600, look_s=1.0)


def _deferred(fleet: Fleet, seq: int) -> int:
    [(number,)] = fleet.db.rows("SELECT count(*) FROM tasks WHERE exp = ? AND state = 'deferred'", (seq,))
    return int(number)


def idle(report: Report, folder: Path, settings: argparse.Namespace) -> None:
    """The orchestrator's processor time and memory, after a while in which all have been asked for."""
    count, watch_s = (50, 2.0) if settings.quick else (20_000, 60.0)
    report.title(f"{count:,} deferred jobs on {len(CLUSTERS)} clusters")
    env = endless_queue.install(folder / "plugin")
    sys.path.append(str(folder / "plugin"))  # the measuring process reads files with these machines too
    tables = "".join(
        f'[machines.{name}]\nhost = "{name}.invalid"\ntransport = "nowhere"\nbatch = "endless"\n' for name in CLUSTERS
    )
    with open_rabbit(folder / "rabbitmq") as rabbit:
        vhost = rabbit.vhost()
        store = f"sqlite:///{folder}/fleet/store.db"
        with fleets.running(folder / "fleet", store, vhost.url, env, tables) as fleet:
            fleet.add_workers(2, 4)
            deferred_jobs(fleet, count)
            time.sleep(watch_s / 2)  # they age, and so do the pauses between two looks
            workers_before_s = sum(cpu_s(worker.pid) for worker in fleet.workers)
            before_s, begin_s = cpu_s(fleet.orchestrator.pid), time.monotonic()
            time.sleep(watch_s)
            took_s = time.monotonic() - begin_s
            share = (cpu_s(fleet.orchestrator.pid) - before_s) / took_s
            workers_share = (sum(cpu_s(worker.pid) for worker in fleet.workers) - workers_before_s) / took_s
            memory = memory_bytes(fleet.orchestrator, "VmHWM") / MIB
    report.table(
        ("", "of a core", "MiB at most"),
        [
            ("orchestrator", f"{100 * share:.1f} %", f"{memory:.0f}"),
            ("both workers", f"{100 * workers_share:.1f} %", ""),
        ],
    )
    report.promise(f"the orchestrator of {count:,} deferred jobs", 100 * share, 20, unit="% of a core")
    report.promise("its memory", memory, 400, unit="MiB")


def measure(report: Report, folder: Path, settings: argparse.Namespace) -> None:
    """The one table."""
    with suppress(LookupError):
        idle(report, folder, settings)
        return
    print("no RabbitMQ here (Debian: rabbitmq-server): not measured")


if __name__ == "__main__":
    raise SystemExit(options.run(measure, __doc__ or "", runs=1))
