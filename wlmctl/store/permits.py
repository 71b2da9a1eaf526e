"""Permits: how many connections to a login are open, and how many commands it got, over all processes of the store."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable

from wlmctl.host import ProcessIdentity, is_gone, this_process
from wlmctl.store.database import Database

#: Seconds between two looks for a free permit.
LOOK_S = 0.1


class Permits:
    """The budget of connections and commands, with a store connection a thread; safe to share over threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._local = threading.local()

    def _db(self) -> Database:
        db: Database | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = Database(self._url)
        return db

    def acquire(self, machine_login: str, limit: int, check: Callable[[], None]) -> str:
        """A permit for one connection to a login; waits until there are fewer than ``limit``. Returns its token."""
        db, me = self._db(), this_process()
        while True:
            with db.transaction():
                rows = db.rows(
                    "SELECT token, host, boot, pid, start_time FROM permits WHERE login = ?", (machine_login,)
                )
                gone = [row[0] for row in rows if is_gone(ProcessIdentity(*row[1:]))]
                db.executemany("DELETE FROM permits WHERE token = ?", ((token,) for token in gone))
                if len(rows) - len(gone) < limit:
                    token = secrets.token_hex(8)
                    db.execute(
                        "INSERT INTO permits VALUES (?, ?, ?, ?, ?, ?)",
                        (token, machine_login, me.host, me.boot, me.pid, me.start_time),
                    )
                    return token
            check()
            time.sleep(LOOK_S)

    def release(self, token: str) -> None:
        """Give a permit back; a second time does nothing."""
        db = self._db()
        with db.transaction():
            db.execute("DELETE FROM permits WHERE token = ?", (token,))

    def command(self, login: str, per_minute: int, check: Callable[[], None]) -> None:
        """Count one command on ``login``; waits while the last minute had ``per_minute`` of them."""
        db = self._db()
        while True:
            now = time.time()
            with db.transaction():
                db.execute("DELETE FROM commands WHERE login = ? AND time < ?", (login, now - 60))
                if db.row("SELECT count(*) FROM commands WHERE login = ?", (login,))[0] < per_minute:
                    db.execute("INSERT INTO commands VALUES (?, ?)", (login, now))
                    return
            check()
            time.sleep(LOOK_S)
