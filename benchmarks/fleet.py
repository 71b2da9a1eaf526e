"""No-op tasks over RabbitMQ with two workers of four slots each, beside Celery with results over RabbitMQ.

    python -m benchmarks.fleet [--quick] [--runs N] [--long] [--only rate|latency|chain|waiting|idle]

Counted is from the commit of the submission to the last final state in the store, with every change of state in its
event log; Celery is counted from its first to its last result, all tasks sent before its workers start. It is compared
where WLMCTL_BENCH_CELERY_PYTHON names the Python of an environment with it (``pip install 'celery==5.*'``).
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import fleets, options
from benchmarks.experiments import write_chain, write_trivial
from benchmarks.figures import Report, Spread, interleaved, ratio
from benchmarks.fleets import Fleet, cpu_s, memory_bytes
from tests.services.postgres import NativeServer, binaries
from tests.services.rabbitmq import open_rabbit
from tests.services.rabbitmq_api import Rabbit
from tests.services.rabbitmq_node import RabbitNode
from wlmctl.store.events import events
from wlmctl.testing import noop

CELERY_PYTHON = "WLMCTL_BENCH_CELERY_PYTHON"
WORKERS, SLOTS = 2, 4
MIB = 1 << 20

#: Of the orchestrator, of all workers, of the broker where it runs on this host.
Costs = tuple[Spread, Spread, Spread]


@dataclass(frozen=True, slots=True)
class Site:
    """The servers of all measurements."""

    folder: Path
    rabbit: Rabbit
    postgres: NativeServer | None
    env: dict[str, str]
    numbers: Iterator[int]

    @contextmanager
    def fleet(self, store: str = "sqlite", queues: str = "classic", workers: int = WORKERS) -> Iterator[Fleet]:
        """A fleet on a new vhost and a new store, with workers that do nothing yet."""
        folder, vhost = self.folder / f"fleet-{next(self.numbers)}", self.rabbit.vhost()
        url = f"sqlite:///{folder}/store.db"
        if store == "postgresql":
            assert self.postgres is not None
            url = self.postgres.new_database()
        try:
            with fleets.running(folder, url, vhost.url, self.env, f'queue_type = "{queues}"') as fleet:
                fleet.add_workers(workers, SLOTS)
                yield fleet
        finally:
            self.rabbit.remove_vhost(vhost.name)


@contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    """RabbitMQ, and PostgreSQL where it is installed, both on the file system that is measured."""
    env = noop.install(folder / "plugin")
    sys.path.append(env["PYTHONPATH"])  # the measuring process reads files with no-ops too
    server = None
    if found := binaries():
        folder.chmod(0o755)  # PostgreSQL runs as an ordinary user
        (folder / "pg").mkdir()
        server = NativeServer(folder / "pg", found)
    try:
        with open_rabbit(folder / "rabbitmq") as rabbit:
            yield Site(folder, rabbit, server, env, itertools.count(1))
    finally:
        if server is not None:
            server.stop(signal.SIGINT)


def rate(site: Site, store: str, queues: str, costs: Costs, count: int) -> float:
    """Tasks a second, after a tenth of them to warm up; what one of them cost goes to ``costs``."""
    broker = site.rabbit.processes() if isinstance(site.rabbit, RabbitNode) else []
    with site.fleet(store, queues) as fleet:
        groups = ([fleet.orchestrator.pid], [worker.pid for worker in fleet.workers], broker)
        for tasks in (count // 10, count):
            write_trivial(fleet.folder / "many.yaml", tasks, "noop")
            before_s = [sum(map(cpu_s, pids)) for pids in groups]
            seq, commit_s = fleet.submit(fleet.folder / "many.yaml")
            took_s = fleet.wait(seq, look_s=0.2) - commit_s
        for spread, pids, until_s in zip(costs, groups, before_s, strict=True):
            spread.values.append(1e6 * (sum(map(cpu_s, pids)) - until_s) / count)
    return count / took_s


def celery(site: Site, what: str, count: int) -> list[float]:
    """What ``benchmarks/celery_peer.py`` prints, on a vhost of its own."""
    vhost = site.rabbit.vhost()
    script = Path(__file__).with_name("celery_peer.py")
    try:
        done = subprocess.run(
            [os.environ[CELERY_PYTHON], str(script), what, vhost.url, str(count)],
            cwd=script.parent, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"Celery: {done.stderr[-2000:]}")
        return [float(word) for word in done.stdout.split()]
    finally:
        site.rabbit.remove_vhost(vhost.name)


def rates(report: Report, site: Site, settings: argparse.Namespace) -> None:
    """Tasks a second on every kind of queue and store."""
    count = 200 if settings.quick else 20_000
    report.title(f"{count:,} no-ops, {WORKERS} workers x {SLOTS} slots")
    kinds = {"classic, SQLite": ("sqlite", "classic"), "quorum, SQLite": ("sqlite", "quorum")}
    if site.postgres is not None:
        kinds |= {"classic, PostgreSQL": ("postgresql", "classic"), "quorum, PostgreSQL": ("postgresql", "quorum")}
    costs = {name: (Spread(), Spread(), Spread()) for name in kinds}
    measured: dict[str, Callable[[], float]] = {
        name: partial(rate, site, store, queues, costs[name], count) for name, (store, queues) in kinds.items()
    }
    if has_celery := CELERY_PYTHON in os.environ:
        measured = {"Celery, rpc": lambda: celery(site, "drain", max(100, count // 4))[0], **measured}
    found = interleaved(settings.runs, measured)
    peer = found.get("Celery, rpc")
    report.table(
        ("", "tasks/s", "x Celery"),
        [(name, spread.text("{:.0f}"), ratio(spread, peer).text() if peer else "") for name, spread in found.items()],
    )
    report.table(
        ("processor time a task, µs", "orchestrator", "both workers", "broker"),
        [(name, *(spread.text("{:.0f}") for spread in spreads)) for name, spreads in costs.items()],
    )
    if not has_celery or peer is None:
        print(f"{CELERY_PYTHON} is not set: Celery is not compared.\n")
        return
    for name in kinds:
        limit = 3.0 if "PostgreSQL" in name else 4.0
        report.promise(f"no-ops a second, {name}, beside Celery", ratio(found[name], peer).median, limit, at_least=True)


def latencies_ms(site: Site, store: str, count: int) -> list[float]:
    """Milliseconds from the commit of a submission of one task until its end can be read in the store."""
    found = []
    with site.fleet(store) as fleet:
        write_trivial(fleet.folder / "one.yaml", 1, "noop")
        for number in range(count + 10):
            seq, commit_s = fleet.submit(fleet.folder / "one.yaml")
            fleet.wait(seq, look_s=0.0005)
            if number >= 10:
                found.append(1000 * (time.time() - commit_s))
            time.sleep(random.uniform(0.1, 0.2))  # idle again, and at no fixed moment between two looks of the leader
    return found


def latency(report: Report, site: Site, settings: argparse.Namespace) -> None:
    """One task on an idle fleet."""
    count = 5 if settings.quick else 100
    report.title(f"One no-op on an idle fleet, {count} times")
    found = {"SQLite": latencies_ms(site, "sqlite", count)}
    if site.postgres is not None:
        found["PostgreSQL"] = latencies_ms(site, "postgresql", count)
    if CELERY_PYTHON in os.environ:
        found["Celery, rpc (no stored result)"] = celery(site, "latency", count)
    rows = []
    for name, values in found.items():
        ranked = sorted(values)
        cells = (f"{ranked[int(len(ranked) * share)]:.1f}" for share in (0.5, 0.9, 0.99))
        rows.append((name, *cells, f"{ranked[0]:.1f}"))
    report.table(("from commit to what can be read, ms", "median", "90 %", "99 %", "least"), rows)
    for name, looks_ms in (("SQLite", 20.0), ("PostgreSQL", 0.0)):
        if name in found:
            limit = 12.0 + looks_ms
            report.promise(f"one task on an idle fleet, {name}", Spread(found[name]).median, limit, unit="ms")


def chain(report: Report, site: Site, settings: argparse.Namespace) -> None:
    """Tasks each of which needs the one before."""
    count = 20 if settings.quick else 1000
    report.title(f"A chain of {count:,} no-ops")

    def measure(store: str) -> float:
        with site.fleet(store) as fleet:
            for length in (count // 10, count):
                write_chain(fleet.folder / "chain.yaml", length)
                seq, commit_s = fleet.submit(fleet.folder / "chain.yaml")
                took_s = fleet.wait(seq, look_s=0.2) - commit_s
        return count / took_s

    stores = ["sqlite"] + (["postgresql"] if site.postgres is not None else [])
    found = interleaved(settings.runs, {store: partial(measure, store) for store in stores})
    report.table(("", "tasks/s"), [(name, spread.text("{:.0f}")) for name, spread in found.items()])
    report.promise("a chain on SQLite", found["sqlite"].median, 300, at_least=True, unit="a second")


def waiting(report: Report, site: Site, settings: argparse.Namespace) -> None:
    """Many tasks that wait: memory, and whether a task costs more behind many."""
    count = 1000 if settings.quick else 100_000
    report.title(f"{count:,} no-ops that wait")
    write_trivial(site.folder / "waiting.yaml", count, "noop")
    with site.fleet() as fleet:
        idle = max(memory_bytes(worker) for worker in fleet.workers) / MIB
        seq, _ = fleet.submit(site.folder / "waiting.yaml")
        fleet.wait(seq, 1800, look_s=0.5)
        peak = memory_bytes(fleet.orchestrator, "VmHWM") / MIB
        busy = max(memory_bytes(worker, "VmHWM") for worker in fleet.workers) / MIB
        ends_s = [
            event.time for event in events(fleet.db, seq) if event.target == "succeeded" and event.task is not None
        ]
    tenth = len(ends_s) // 10
    # what ends in one transaction has one time: of a few tasks, a whole tenth may
    spans_s = [max(ends_s[tenth * number + tenth - 1] - ends_s[tenth * number], 1e-3) for number in range(10)]
    shares = [tenth / span_s for span_s in spans_s]
    report.table(("tenth", "tasks/s"), [(number + 1, f"{value:.0f}") for number, value in enumerate(shares)])
    report.table(("process", "MiB"), [("orchestrator, at most", f"{peak:.0f}"), ("idle worker", f"{idle:.0f}"),
                                      ("busy worker, at most", f"{busy:.0f}")])  # fmt: skip
    report.promise("memory of the orchestrator", peak, 150, unit="MiB")
    report.promise("memory of an idle worker", idle, 60, unit="MiB")
    slowest = min(sum(shares[:2]), sum(shares[-2:])) / max(sum(shares[:2]), sum(shares[-2:]))
    report.promise("pace with all waiting and with few, the slower by the quicker", slowest, 0.7, at_least=True)


def idle(report: Report, site: Site, settings: argparse.Namespace) -> None:
    """Many workers that have nothing to do."""
    count, watch_s = (3, 2.0) if settings.quick else (200, 20.0)
    report.title(f"{count} idle workers")
    with site.fleet(workers=count) as fleet:
        time.sleep(watch_s / 4)  # what came with their start
        before_s, begin_s = cpu_s(fleet.orchestrator.pid), time.monotonic()
        time.sleep(watch_s)
        share = (cpu_s(fleet.orchestrator.pid) - before_s) / (time.monotonic() - begin_s)
        memory = memory_bytes(fleet.orchestrator) / MIB
    report.table(("orchestrator", ""), [("of a core", f"{100 * share:.1f} %"), ("MiB", f"{memory:.0f}")])
    report.promise(f"the orchestrator of {count} idle workers", 100 * share, 10, unit="% of a core")


def measure(report: Report, folder: Path, settings: argparse.Namespace) -> None:
    """All tables."""
    parts = {"rate": rates, "latency": latency, "chain": chain, "waiting": waiting}
    if settings.long or settings.quick or settings.only == "idle":
        parts["idle"] = idle
    with suppress(LookupError), open_site(folder) as site:
        for name, part in parts.items():
            if settings.only in name:
                part(report, site, settings)
        return
    print("no RabbitMQ here (Debian: rabbitmq-server): not measured")


if __name__ == "__main__":
    raise SystemExit(options.run(measure, __doc__ or "", runs=3))
