"""Working in the foreground on experiments that came from `run` and that no process works on any more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from wlmctl.cli.common import note

if TYPE_CHECKING:
    from wlmctl.store.database import Database
    from wlmctl.store.leases import Lease, LeaseRow
    from wlmctl.store.rows import ExperimentRow

#: A holder whose beat has changed for longer than this is at work, and reads what a command has recorded.
ALIVE_AFTER_S = 2.0


class HolderWorks(Exception):
    """Somebody else works on the experiment, and goes on doing so."""


class NothingLeft(Exception):
    """The experiment has ended while its lease was waited for."""


def take_lease(db: Database, row: ExperimentRow, *, leave_to_holder: bool) -> Lease | None:
    """Take the experiment's lease; waits for it to end, with a line that says who holds it.

    None when there is nothing to take it for: the experiment has ended meanwhile, or, with ``leave_to_holder``,
    its holder is alive and does what is to be done.
    """
    from wlmctl.store.leases import experiment_lease, look, wait_and_take

    name, since = experiment_lease(row.seq), time.monotonic()
    first = look(db, name)

    def check() -> None:
        from wlmctl.cli.waiting import FINAL
        from wlmctl.store.experiments import get

        held = look(db, name)
        goes_on = first is not None and held is not None and held.epoch == first.epoch and held.beats != first.beats
        if leave_to_holder and goes_on and time.monotonic() - since > ALIVE_AFTER_S:
            raise HolderWorks
        now = get(db, row.seq)
        if now is None or now.state in FINAL:
            raise NothingLeft

    def waiting(held: LeaseRow) -> None:
        host = held.info.get("host_name", held.process.host)
        note(f"{row.id} is held by process {held.process.pid} on {host}: waiting for its end")

    try:
        return wait_and_take(db, name, check=check, waiting=waiting, info={"experiment": row.id})
    except HolderWorks:
        note(f"{row.id}: the process that holds it goes on with it")
    except NothingLeft:
        note(f"{row.id} has ended meanwhile")
    return None


def work_here(ctx: click.Context, db: Database, rows: Sequence[tuple[ExperimentRow, bool]], output: str) -> int | None:
    """Take the leases of these experiments of `run` and work on them to their ends; the exit code.

    Each comes with whether a holder that is alive is left alone (else its end is waited for). None: nothing was done.
    """
    from wlmctl.store.leases import give_back

    leases: dict[int, Lease] = {}
    try:
        for row, leave_to_holder in rows:
            lease = take_lease(db, row, leave_to_holder=leave_to_holder)
            if lease is not None:
                leases[row.seq] = lease
    except BaseException:
        with db.transaction():
            for lease in leases.values():
                give_back(db, lease)
        raise
    if not leases:
        return None
    from wlmctl.cli.run import work_in_foreground
    from wlmctl.cli.stopping import Stopping

    with Stopping() as stopping:
        return work_in_foreground(ctx, leases, output, stopping)
