"""What is written down of a round that went wrong, while its processes and services are still there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from tests.chaos.fleet import Fleet
from tests.chaos.site import Site
from wlmctl.states import FINAL
from wlmctl.store import Database, experiments, workers
from wlmctl.store.events import events


def write(path: Path, db: Database, site: Site, vhost: str | None, fleet: Fleet, seqs: Iterable[int]) -> None:
    """Everything that may say why, as text."""
    with path.open("w") as out:
        for line in [*_stored(db, seqs), *_queued(site, vhost), *_orders(fleet), *_stacks(fleet)]:
            print(line, file=out)


def _stored(db: Database, seqs: Iterable[int]) -> Iterator[str]:
    for seq in seqs:
        row = experiments.get(db, seq)
        if row is None:
            continue
        left = {task.idx: task for task in experiments.tasks(db, seq) if task.state not in FINAL}
        yield f"== {row.id}: {row.state}, {len(left)} tasks have not ended"
        for task in list(left.values())[:20]:
            yield f"{task}"
            for event in events(db, seq, task=task.idx):
                yield f"    {event}"
    for table in ("permits", "holds", "meta", "leases"):
        yield f"== {table}"
        yield from map(str, db.rows(f"SELECT * FROM {table}"))
    yield "== workers"
    yield from map(str, workers.rows(db))


def _queued(site: Site, vhost: str | None) -> Iterator[str]:
    yield "== queues"
    if vhost is not None:
        with suppress(OSError):
            for name, queue in site.queues(vhost).items():
                counts = (queue.get(key) for key in ("messages_ready", "messages_unacknowledged", "consumers"))
                yield f"{name}: ready, unacked, consumers {', '.join(map(str, counts))}"


def _orders(fleet: Fleet) -> Iterator[str]:
    yield "== orders"
    yield from fleet.orders


def _stacks(fleet: Fleet) -> Iterator[str]:
    """What each thread of each process does, where py-spy is installed."""
    spy = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    for pid, what in fleet.processes().items():
        yield f"== process {pid}: {what}"
        if spy and " -m wlmctl " in what:
            done = subprocess.run([spy, "dump", "--pid", str(pid)], capture_output=True, text=True, timeout=60)
            yield done.stdout
