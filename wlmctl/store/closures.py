"""Channels that the broker has closed with 406 (a message was held for too long), for ``wlmctl doctor``."""

from __future__ import annotations

from dataclasses import dataclass

from wlmctl.store.database import Database

#: Seconds for which a closure is remembered, and how many are at most.
REMEMBERED_S, MOST = 30 * 86_400.0, 200

#: The most characters of a reason.
REASON_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Closure:
    """What the broker said, to whom, how often, and when first and last (seconds since the epoch)."""

    process: str
    reason: str
    since_s: float
    seen_s: float
    times: int


def add(db: Database, process: str, reason: str, now_s: float) -> None:
    """It has happened once more, and what is old is forgotten; inside a transaction."""
    db.execute(
        "INSERT INTO closures VALUES (?, ?, ?, ?, 1) ON CONFLICT (process, reason) DO UPDATE"
        " SET seen = excluded.seen, times = closures.times + 1",
        (process, reason[:REASON_LENGTH], now_s, now_s),
    )
    db.execute(
        "DELETE FROM closures WHERE seen < ?"
        " OR seen <= (SELECT seen FROM closures ORDER BY seen DESC LIMIT 1 OFFSET ?)",
        (now_s - REMEMBERED_S, MOST),
    )


def seen(db: Database) -> list[Closure]:
    """All that is remembered, the newest first."""
    return [Closure(*row) for row in db.rows("SELECT * FROM closures ORDER BY seen DESC, process, reason")]
