"""Waiting for something to happen in the store, cheaply: a look only after another process has committed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from wlmctl.cli.common import note
from wlmctl.errors import NoSuch

if TYPE_CHECKING:
    from wlmctl.store.database import Database
    from wlmctl.store.rows import ExperimentRow

#: Seconds between two looks at the store's version.
LOOK_S = 0.05

FINAL = frozenset({"succeeded", "failed", "cancelled"})


def commits(db: Database, deadline_s: float | None = None) -> Iterator[None]:
    """Yields at once, and then each time another process has committed; ends at the deadline (monotonic clock).

    While the store does not answer, this waits for it, and says so.
    """
    from wlmctl.store.patience import Patience

    db.patience = Patience(lambda: deadline_s is None or time.monotonic() < deadline_s)
    version = db.data_version()
    yield
    while deadline_s is None or time.monotonic() < deadline_s:
        left_s = LOOK_S if deadline_s is None else min(LOOK_S, max(deadline_s - time.monotonic(), 0.0))
        time.sleep(left_s)
        now = db.data_version()
        if now != version:
            version = now
            yield


def until_final(
    db: Database,
    rows: Collection[ExperimentRow],
    ended: Callable[[ExperimentRow], None],
    deadline_s: float | None = None,
) -> list[ExperimentRow]:
    """Wait until all of these have ended, and tell each end once; returns those that have not at the deadline."""
    from wlmctl.store.experiments import get

    pending = {row.seq: row for row in rows}
    for _ in commits(db, deadline_s):
        for seq, before in list(pending.items()):
            row = get(db, seq)
            if row is None:
                raise NoSuch(f"experiment {before.id} is not in the store any more")
            if row.state in FINAL:
                del pending[seq]
                ended(row)
        if not pending:
            break
    return list(pending.values())


def warn_when_nobody_works(db: Database, rows: Collection[ExperimentRow]) -> None:
    """Say on stderr which of these no process works on, and what to do."""
    from wlmctl.runtime.who_works import lacks_workers
    from wlmctl.store.experiments import get
    from wlmctl.store.leases import ORCHESTRATOR, experiment_lease, is_live

    going_on = [row for row in rows if row.state not in FINAL]
    if any(row.origin != "run" for row in going_on) and not is_live(db, ORCHESTRATOR):
        note("no orchestrator is running: start one with wlmctl orchestrator")
    elif any(row.origin != "run" for row in going_on) and lacks_workers(db):
        note("no worker is live: start one with wlmctl worker")
    for row in going_on:
        if row.origin != "run" or is_live(db, experiment_lease(row.seq)):
            continue
        now = get(db, row.seq)  # whoever worked on it may have ended it, and gone, since the row was read
        if now is not None and now.state not in FINAL:
            note(f"no process works on {row.id}: wlmctl resume {row.id} goes on")
