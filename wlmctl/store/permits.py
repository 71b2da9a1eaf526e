"""Permits: how many connections to a login are open, and how many commands it got, over all processes of the store."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable

from wlmctl.errors import StoreOutage
from wlmctl.host import ProcessIdentity, is_gone, this_process
from wlmctl.store.database import Database
from wlmctl.store.opening import Password, open_database
from wlmctl.store.patience import Patience

log = logging.getLogger(__name__)

#: Seconds between two looks for a free permit.
LOOK_S = 0.1


class Permits:
    """The budget of connections and commands, with a store connection a thread; safe to share over threads.

    While the store does not answer, who asks for a permit waits, and what is given back is noted for later.
    """

    def __init__(self, url: str, password: Password = None) -> None:
        self._url, self._password = url, password
        self._local = threading.local()
        self._returned: set[str] = set()

    def _db(self) -> Database:
        db: Database | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = open_database(self._url, self._password)
        return db

    def acquire(self, machine_login: str, limit: int, check: Callable[[], None]) -> str:
        """A permit for one connection to a login; waits until there are fewer than ``limit``. Returns its token."""
        token = secrets.token_hex(8)
        _until(lambda: self._acquire(token, machine_login, limit), check)
        return token

    def _acquire(self, token: str, machine_login: str, limit: int) -> bool:
        db, me = self._db(), this_process()
        self._give_back(db)
        with db.transaction():
            rows = db.rows("SELECT token, host, boot, pid, start_time FROM permits WHERE login = ?", (machine_login,))
            if any(row[0] == token for row in rows):
                return True  # it was granted, and the answer to the commit was lost
            gone = [row[0] for row in rows if is_gone(ProcessIdentity(*row[1:]))]
            db.executemany("DELETE FROM permits WHERE token = ?", ((each,) for each in gone))
            if len(rows) - len(gone) >= limit:
                return False
            db.execute(
                "INSERT INTO permits VALUES (?, ?, ?, ?, ?, ?)",
                (token, machine_login, me.host, me.boot, me.pid, me.start_time),
            )
            return True

    def release(self, token: str) -> None:
        """Give a permit back; a second time does nothing."""
        self._returned.add(token)
        try:
            self._give_back(self._db())
        except StoreOutage as outage:
            log.info("%s; a permit is given back later", outage)

    def _give_back(self, db: Database) -> None:
        returned = list(self._returned)
        if returned:
            with db.transaction():
                db.executemany("DELETE FROM permits WHERE token = ?", ((token,) for token in returned))
            self._returned.difference_update(returned)

    def command(self, login: str, per_minute: int, check: Callable[[], None]) -> None:
        """Count one command on ``login``; waits while the last minute had ``per_minute`` of them."""
        _until(lambda: self._command(login, per_minute), check)

    def _command(self, login: str, per_minute: int) -> bool:
        db, now = self._db(), time.time()
        with db.transaction():
            db.execute("DELETE FROM commands WHERE login = ? AND time < ?", (login, now - 60))
            if db.row("SELECT count(*) FROM commands WHERE login = ?", (login,))[0] >= per_minute:
                return False
            db.execute("INSERT INTO commands VALUES (?, ?)", (login, now))
            return True


def _until(attempt: Callable[[], bool], check: Callable[[], None]) -> None:
    """Try until it succeeds; ``check`` raises to give up, an outage of the store is waited for."""
    patience = Patience(tell=log.debug)  # the work itself tells what it waits for
    while True:
        try:
            if attempt():
                return
        except StoreOutage as outage:
            patience(outage)
        check()
        time.sleep(LOOK_S)
