"""Machines in the store: which are held, by whom and why, and on which an experiment has a folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from wlmctl.store.database import Database, Question

#: What ``away`` and ``held_by_users`` ask.
AWAY: Question = "SELECT machine, reason, since, probe_due FROM holds", ()
BY_USERS: Question = "SELECT machine, reason, since, owner, until FROM user_holds", ()


@dataclass(frozen=True, slots=True)
class Hold:
    """A machine that gets nothing: it does not answer, until a probe succeeds, or a user (``by``) holds it.

    A user's hold is never probed; it ends by the user's word, or at ``until_s``.
    """

    machine: str
    reason: str
    since_s: float
    probe_due_s: float | None = None
    by: str | None = None
    until_s: float | None = None

    @property
    def text(self) -> str:
        """Why it is held: what the machine or its connection said, or who holds it, for what and until when."""
        if self.by is None:
            return self.reason.removeprefix(f"machine {self.machine}: ")  # who asks has named it
        reason = f": {self.reason}" if self.reason else ""
        return f"by {self.by}{reason}" + (f" (until {_utc(self.until_s)})" if self.until_s is not None else "")

    def is_over(self, now_s: float) -> bool:
        """True when its time has run out."""
        return self.until_s is not None and self.until_s <= now_s


def hold(db: Database, machine: str, reason: str, now_s: float, probe_due_s: float) -> bool:
    """Hold a machine that does not answer, or note the newest reason; inside a transaction.

    True when it was not held before.
    """
    known = db.row("SELECT 1 FROM holds WHERE machine = ?", (machine,)) is not None
    db.execute(
        "INSERT INTO holds VALUES (?, ?, ?, ?) ON CONFLICT (machine) DO UPDATE SET reason = excluded.reason,"
        " probe_due = excluded.probe_due",
        (machine, reason, now_s, probe_due_s),
    )
    return not known


def release(db: Database, machine: str) -> bool:
    """It answers again; inside a transaction. True when it was held for that. A user's hold stays."""
    return db.execute("DELETE FROM holds WHERE machine = ?", (machine,)).rowcount > 0


def probe_now(db: Database, machine: str) -> bool:
    """Have a machine that does not answer tried again at once; inside a transaction. False when it is not held."""
    return db.execute("UPDATE holds SET probe_due = 0 WHERE machine = ?", (machine,)).rowcount > 0


def hold_by_user(db: Database, machine: str, reason: str, now_s: float, by: str, until_s: float | None) -> Hold:
    """A user holds the machine, or holds it for other reasons or another time; inside a transaction."""
    known = held_by_users(db).get(machine)
    held = Hold(machine, reason, known.since_s if known is not None else now_s, by=by, until_s=until_s)
    db.execute(
        "INSERT INTO user_holds VALUES (?, ?, ?, ?, ?) ON CONFLICT (machine) DO UPDATE SET reason = excluded.reason,"
        " owner = excluded.owner, until = excluded.until",
        (machine, reason, held.since_s, by, until_s),
    )
    return held


def release_by_user(db: Database, machine: str) -> bool:
    """End a user's hold; inside a transaction. True when there was one."""
    return db.execute("DELETE FROM user_holds WHERE machine = ?", (machine,)).rowcount > 0


def forget_over(db: Database, now_s: float) -> None:
    """Forget the holds of users whose time has run out; inside a transaction."""
    db.execute("DELETE FROM user_holds WHERE until <= ?", (now_s,))


def away(db: Database) -> dict[str, Hold]:
    """The machines that do not answer."""
    return {row[0]: Hold(*row) for row in db.rows(*AWAY)}


def held_by_users(db: Database) -> dict[str, Hold]:
    """The machines that users hold, or held until a time that may be over."""
    return {
        name: Hold(name, reason, since, by=by, until_s=until) for name, reason, since, by, until in db.rows(*BY_USERS)
    }


def holds(db: Database, now_s: float | None = None) -> dict[str, Hold]:
    """The machines that are held now (``now_s``: by this clock); a user's hold counts before that of a probe."""
    now_s = time.time() if now_s is None else now_s
    return {**away(db), **{name: held for name, held in held_by_users(db).items() if not held.is_over(now_s)}}


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def touched(db: Database, seq: int, machine: str) -> None:
    """Note that the experiment has (or will have) a folder on the machine; inside a transaction."""
    db.write(
        "INSERT INTO folders VALUES (?, ?) ON CONFLICT (exp, machine) DO UPDATE SET machine = excluded.machine",
        (seq, machine),
        lambda: AssertionError("a folder was not noted"),
    )


def machines_touched(db: Database, seq: int) -> list[str]:
    """The machines on which the experiment has had a folder."""
    return [row[0] for row in db.rows("SELECT machine FROM folders WHERE exp = ? ORDER BY machine", (seq,))]
