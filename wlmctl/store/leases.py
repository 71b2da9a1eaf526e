"""Leases: who works on an experiment (or leads), with an epoch that every transaction of the holder checks.

No two clocks are compared: whoever waits for a lease watches its beat on its own monotonic clock.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wlmctl.errors import StoreOutage
from wlmctl.host import ProcessIdentity, is_gone, this_process
from wlmctl.store.database import Database, Question

#: Seconds without a beat, on the waiting process's clock, after which a lease has ended. Beats come every second.
TERM_S = 5.0

#: The same for the lead: who takes over has connected to the broker and read everything 5 s after a leader's death.
LEADER_TERM_S = 3.5

#: The lease of the process that leads all submitted experiments.
ORCHESTRATOR = "orchestrator"


class LeaseLost(Exception):
    """Another process has taken the lease: nothing more may be written for it."""


@dataclass(slots=True)
class Lease:
    """A lease this process holds."""

    name: str
    owner: str
    epoch: int


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A lease as the store has it."""

    name: str
    owner: str
    epoch: int
    beats: int
    process: ProcessIdentity
    info: dict[str, Any]


def experiment_lease(seq: int) -> str:
    """The name of the lease on one experiment that came from ``run``."""
    return f"experiment:{seq}"


def look(db: Database, name: str) -> LeaseRow | None:
    """The lease as it stands, or None when nobody holds it."""
    row = db.row(
        "SELECT name, owner, epoch, beats, host, boot, pid, start_time, info FROM leases"
        " WHERE name = ? AND owner != ''",
        (name,),
    )
    if row is None:
        return None
    return LeaseRow(row[0], row[1], row[2], row[3], ProcessIdentity(*row[4:8]), json.loads(row[8]))


def is_live(db: Database, name: str) -> bool:
    """False when nobody holds the lease, or its holder was on this host and is gone."""
    row = look(db, name)
    return row is not None and not is_gone(row.process)


def take(db: Database, name: str, *, expect: LeaseRow | None, info: dict[str, Any] | None = None) -> Lease | None:
    """Take the lease if it is still as ``expect`` saw it; inside a transaction. None: somebody else was quicker."""
    now = look(db, name)
    if now is not None and (
        expect is None or (now.owner, now.epoch, now.beats) != (expect.owner, expect.epoch, expect.beats)
    ):
        return None
    me, owner = this_process(), os.urandom(8).hex()
    text = json.dumps({"host_name": socket.gethostname(), **(info or {})})
    db.execute(
        "INSERT INTO leases VALUES (?, ?, 1, 0, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET owner = excluded.owner,"
        " epoch = leases.epoch + 1, beats = 0, host = excluded.host, boot = excluded.boot, pid = excluded.pid,"
        " start_time = excluded.start_time, info = excluded.info",
        (name, owner, me.host, me.boot, me.pid, me.start_time, text),
    )
    return Lease(name, owner, db.row("SELECT epoch FROM leases WHERE name = ?", (name,))[0])


def wait_and_take(
    db: Database,
    name: str,
    *,
    check: Callable[[], None],
    waiting: Callable[[LeaseRow], None] | None = None,
    info: dict[str, Any] | None = None,
) -> Lease:
    """Take the lease as soon as it is free, its holder on this host is gone, or its beat has stood still for a term.

    ``check`` is called several times a second and raises to give up; ``waiting`` is told once who holds it. While the
    store does not answer, no term runs.
    """
    seen: LeaseRow | None = None
    since, term_s = time.monotonic(), LEADER_TERM_S if name == ORCHESTRATOR else TERM_S
    told = False
    outages = db.outages
    while True:
        row = look(db, name)
        if db.outages != outages:  # nobody could renew anything: the term begins again
            outages, seen = db.outages, None
        if row is None or is_gone(row.process) or (seen == row and time.monotonic() - since > term_s):
            lease = _take_now(db, name, row, info)
            if lease is not None:
                return lease
            continue
        if row != seen:
            seen, since = row, time.monotonic()
        if waiting is not None and not told:
            waiting(row)
            told = True
        check()
        time.sleep(0.1)


def _take_now(db: Database, name: str, row: LeaseRow | None, info: dict[str, Any] | None) -> Lease | None:
    try:
        with db.transaction():
            return take(db, name, expect=row, info=info)
    except StoreOutage as outage:
        if db.patience is None:
            raise
        db.patience(outage)  # what is in doubt is a lease of this process, whose term will run out
        return None


def question(lease: Lease) -> Question:
    """What ``check`` asks."""
    return "SELECT owner, epoch FROM leases WHERE name = ?", (lease.name,)


def check(db: Database, lease: Lease) -> None:
    """Raise ``LeaseLost`` unless the lease is still ours; inside the transaction that writes."""
    row = db.row(*question(lease))
    if row is None or tuple(row) != (lease.owner, lease.epoch):
        raise LeaseLost(lease.name)


def beat(db: Database, lease: Lease) -> None:
    """Renew the lease; inside a transaction."""
    cursor = db.execute(
        "UPDATE leases SET beats = beats + 1 WHERE name = ? AND owner = ? AND epoch = ?",
        (lease.name, lease.owner, lease.epoch),
    )
    if cursor.rowcount != 1:
        raise LeaseLost(lease.name)


def give_back(db: Database, lease: Lease) -> None:
    """End the lease, keeping its epoch; inside a transaction. Not ours any more is no error."""
    db.execute(
        "UPDATE leases SET owner = '' WHERE name = ? AND owner = ? AND epoch = ?",
        (lease.name, lease.owner, lease.epoch),
    )
