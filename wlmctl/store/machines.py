"""Machines in the store: which are held and why, and on which an experiment has a folder."""

from __future__ import annotations

from dataclasses import dataclass

from wlmctl.store.database import Database


@dataclass(frozen=True, slots=True)
class Hold:
    """A machine that does not answer: its tasks wait until a probe succeeds."""

    machine: str
    reason: str
    since_s: float
    probe_due_s: float


def hold(db: Database, machine: str, reason: str, now_s: float, probe_due_s: float) -> bool:
    """Hold the machine, or note the newest reason; inside a transaction. True when it was not held before."""
    known = db.row("SELECT 1 FROM holds WHERE machine = ?", (machine,)) is not None
    db.execute(
        "INSERT INTO holds VALUES (?, ?, ?, ?) ON CONFLICT (machine) DO UPDATE SET reason = excluded.reason,"
        " probe_due = excluded.probe_due",
        (machine, reason, now_s, probe_due_s),
    )
    return not known


def release(db: Database, machine: str) -> bool:
    """End the hold; inside a transaction. True when there was one."""
    return db.execute("DELETE FROM holds WHERE machine = ?", (machine,)).rowcount > 0


def holds(db: Database) -> dict[str, Hold]:
    """The machines that are held now."""
    return {row[0]: Hold(*row) for row in db.rows("SELECT machine, reason, since, probe_due FROM holds")}


def touched(db: Database, seq: int, machine: str) -> None:
    """Note that the experiment has (or will have) a folder on the machine; inside a transaction."""
    db.execute("INSERT INTO folders VALUES (?, ?) ON CONFLICT DO NOTHING", (seq, machine))


def machines_touched(db: Database, seq: int) -> list[str]:
    """The machines on which the experiment has had a folder."""
    return [row[0] for row in db.rows("SELECT machine FROM folders WHERE exp = ? ORDER BY machine", (seq,))]
