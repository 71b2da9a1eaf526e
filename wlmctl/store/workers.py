"""Workers of a fleet as the leader has heard of them: who lives, who has gone, who is asked to drain."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from wlmctl.errors import NoSuch
from wlmctl.store.database import Database, Question

#: States. ``dead``: it fell silent; ``gone``: it ended in order.
ALIVE, DRAINING, DEAD, GONE = "alive", "draining", "dead", "gone"

LIVE = frozenset({ALIVE, DRAINING})

#: Seconds for which one that has ended is remembered.
REMEMBERED_S = 7 * 86_400.0

#: What ``to_drain`` asks.
TO_DRAIN: Question = "SELECT id FROM workers WHERE drain = 1 AND ended IS NULL", ()


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker. Times are seconds since the epoch; ``info`` is the JSON of ``wlmctl.message.WorkerInfo``."""

    id: str
    name: str
    state: str
    info: str
    since: float
    seen: float
    ended: float | None
    reason: str | None
    under_way: int
    drain: int

    @property
    def details(self) -> dict[str, Any]:
        """What the worker said of itself."""
        details: dict[str, Any] = json.loads(self.info)
        return details

    @property
    def is_live(self) -> bool:
        """True while the leader counts on it."""
        return self.state in LIVE


_COLUMNS = ", ".join(field.name for field in fields(WorkerRow))


def rows(db: Database) -> list[WorkerRow]:
    """All workers that the store knows: live ones by name, then those that have ended, the newest first."""
    found = [WorkerRow(*row) for row in db.rows(f"SELECT {_COLUMNS} FROM workers ORDER BY since DESC, id")]
    return sorted(found, key=lambda row: (not row.is_live, row.name if row.is_live else ""))


def live(db: Database) -> list[WorkerRow]:
    """The workers that the leader counts on."""
    return [WorkerRow(*row) for row in db.rows(f"SELECT {_COLUMNS} FROM workers WHERE ended IS NULL ORDER BY id")]


def ended_since(db: Database, since_s: float) -> list[str]:
    """The ids of those that have ended since."""
    return [row[0] for row in db.rows("SELECT id FROM workers WHERE ended >= ? ORDER BY ended", (since_s,))]


def get(db: Database, worker: str) -> WorkerRow | None:
    """The worker with this id."""
    row = db.row(f"SELECT {_COLUMNS} FROM workers WHERE id = ?", (worker,))
    return WorkerRow(*row) if row else None


def find(db: Database, text: str) -> WorkerRow:
    """The worker with this id, name or unique prefix of either, live ones before others; else ``NoSuch``."""
    known = rows(db)
    for candidates in ([row for row in known if row.is_live], known):
        exact = [row for row in candidates if text in (row.id, row.name)]
        found = exact or [row for row in candidates if row.id.startswith(text) or row.name.startswith(text)]
        if len(found) == 1:
            return found[0]
        if found:
            raise NoSuch(f"worker {text!r} is not unique: {', '.join(sorted(row.id for row in found)[:5])}")
    raise NoSuch(f"no worker {text!r} (see: wlmctl worker list)")


def put(db: Database, worker: str, info: Mapping[str, Any], state: str, now_s: float) -> None:
    """A worker has come, or is another than before; inside a transaction."""
    db.execute(
        "INSERT INTO workers (id, name, state, info, since, seen) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
        " SET name = excluded.name, state = excluded.state, info = excluded.info, seen = excluded.seen, ended = NULL,"
        " reason = NULL",
        (worker, info["name"], state, json.dumps(dict(info), separators=(",", ":")), now_s, now_s),
    )


def end(db: Database, worker: str, state: str, now_s: float, reason: str) -> None:
    """A worker is dead, or gone, and those that ended long ago are forgotten; inside a transaction."""
    db.execute(
        "UPDATE workers SET state = ?, ended = ?, reason = ?, under_way = 0 WHERE id = ? AND ended IS NULL",
        (state, now_s, reason, worker),
    )
    db.execute("DELETE FROM workers WHERE ended < ?", (now_s - REMEMBERED_S,))


def seen(db: Database, under_way: Iterable[tuple[str, int]], now_s: float) -> None:
    """These workers are alive, with so many dispatches each; inside a transaction."""
    db.executemany(
        "UPDATE workers SET seen = ?, under_way = ? WHERE id = ?",
        [(now_s, count, worker) for worker, count in under_way],
    )


def drain(db: Database, worker: str) -> bool:
    """Ask a live worker to drain; inside a transaction. False when it is not live any more."""
    return db.execute("UPDATE workers SET drain = 1 WHERE id = ? AND ended IS NULL", (worker,)).rowcount > 0


def to_drain(db: Database) -> set[str]:
    """The live workers that are asked to drain."""
    return {row[0] for row in db.rows(*TO_DRAIN)}
