"""What attempts printed: the tails kept at their end, and the new bytes that somebody follows."""

from __future__ import annotations

from collections.abc import Iterator

from wlmctl.store.database import Database, Question

#: Bytes of each stream that the store keeps of an attempt.
TAIL_BYTES = 64 * 1024


def put(db: Database, seq: int, task: int, attempt: int, stdout: bytes, stderr: bytes) -> None:
    """Keep the tails of one attempt; inside a transaction. Empty ones are not stored."""
    if stdout or stderr:
        db.execute(
            "INSERT INTO logs VALUES (?, ?, ?, ?, ?) ON CONFLICT (exp, task, attempt)"
            " DO UPDATE SET stdout = excluded.stdout, stderr = excluded.stderr",
            (seq, task, attempt, stdout[-TAIL_BYTES:], stderr[-TAIL_BYTES:]),
        )


def get(db: Database, seq: int, task: int, attempt: int) -> tuple[bytes, bytes] | None:
    """The tails (stdout, stderr) of one attempt, or None when nothing is kept."""
    row = db.row("SELECT stdout, stderr FROM logs WHERE exp = ? AND task = ? AND attempt = ?", (seq, task, attempt))
    return (bytes(row[0]), bytes(row[1])) if row else None


def follow(db: Database, seq: int, task: int, until_s: float) -> None:
    """Ask for new bytes of a running task until the given time; inside a transaction."""
    db.execute(
        "INSERT INTO follows VALUES (?, ?, ?) ON CONFLICT (exp, task) DO UPDATE SET until = excluded.until",
        (seq, task, until_s),
    )


def followed_question(now_s: float) -> Question:
    """What ``followed`` asks."""
    return "SELECT exp, task FROM follows WHERE until >= ?", (now_s,)


def followed(db: Database, now_s: float) -> list[tuple[int, int]]:
    """The tasks (experiment, task) whose new bytes somebody wants."""
    return [(seq, task) for seq, task in db.rows(*followed_question(now_s))]


def add_live(db: Database, seq: int, task: int, attempt: int, stream: str, start: int, content: bytes) -> None:
    """Keep new bytes of a followed stream, which begin at ``start``; inside a transaction. A repetition is ignored."""
    if content:
        db.execute(
            "INSERT INTO live_logs VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (seq, task, attempt, stream, start, content),
        )


def live_end(db: Database, seq: int, task: int, attempt: int, stream: str) -> int:
    """Up to which byte the stream is known here."""
    row = db.row(
        "SELECT start + length(content) FROM live_logs WHERE exp = ? AND task = ? AND attempt = ? AND stream = ?"
        " ORDER BY start DESC LIMIT 1",
        (seq, task, attempt, stream),
    )
    return int(row[0]) if row else 0


def live(db: Database, seq: int, task: int, attempt: int, stream: str, since: int) -> Iterator[tuple[int, bytes]]:
    """The known pieces (start, content) of a followed stream that reach beyond byte ``since``, in order."""
    for start, content in db.rows(
        "SELECT start, content FROM live_logs WHERE exp = ? AND task = ? AND attempt = ? AND stream = ?"
        " AND start + length(content) > ? ORDER BY start",
        (seq, task, attempt, stream, since),
    ):
        yield start, bytes(content)


def drop_live(db: Database, seq: int, task: int) -> None:
    """Forget the followed bytes of a task that has ended, once nobody follows it; inside a transaction."""
    db.execute("DELETE FROM live_logs WHERE exp = ? AND task = ?", (seq, task))
    db.execute("DELETE FROM follows WHERE exp = ? AND task = ?", (seq, task))
