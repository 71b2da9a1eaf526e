"""Permits: how many connections to a login are open, and how many commands it got, over all processes of the store.

The name of a permit is a login, or what ``wlmctl.traffic`` makes of one.
"""

from __future__ import annotations

import bisect
import itertools
import logging
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterable

from wlmctl.errors import StoreBusy, StoreError, StoreOutage
from wlmctl.host import ProcessIdentity, is_gone, this_process
from wlmctl.store.database import Database
from wlmctl.store.opening import Password, open_database
from wlmctl.store.patience import Patience

log = logging.getLogger(__name__)

#: Seconds between two looks for a free permit.
LOOK_S = 0.1

#: With it before name and token a permit is the wish for one: who leads the workers asks them for what is idle.
_WISH = "wanted "

#: Of wishes there are as many as anybody has.
_ANY = 2**31


class Permits:
    """The budget of connections and commands, with a store connection a thread; safe to share over threads.

    While the store does not answer or is kept locked, who asks for a permit waits, and what is given back is noted for
    later. ``is_lasting``: also while it takes nothing for any other reason (a full disk), of which somebody else tells.
    """

    def __init__(self, url: str, password: Password = None, *, is_lasting: bool = False) -> None:
        self._url, self._password = url, password
        self._passing = StoreError if is_lasting else (StoreOutage, StoreBusy)
        self._local = threading.local()
        self._returned: set[str] = set()
        self._lines = threading.Lock()
        #: By name: who of this process waits, by priority and then in order.
        self._waiting: dict[str, list[tuple[int, int]]] = {}
        self._order = itertools.count()
        self._sharing: dict[str, int] = {}

    def _db(self) -> Database:
        db: Database | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = open_database(self._url, self._password)
            db.tells = False  # one commit a connection and a command of this process
        return db

    def acquire(self, name: str, limit: int, check: Callable[[], None], priority: int = 0) -> str:
        """A permit, of a connection to a login where that is the name; waits until there are fewer than ``limit``.

        Of those who wait in this process the highest priority is first, then who has come first. Returns its token.
        """
        token, place = secrets.token_hex(8), (-priority, next(self._order))
        with self._lines:
            bisect.insort(self._waiting.setdefault(name, []), place)

        def is_first() -> bool:
            return self._waiting[name][0] == place

        try:
            self._until(lambda: is_first() and self._acquire(token, name, limit, is_first), check)
        except BaseException:
            # the answer to a commit may have been lost: then it is there, with nobody's name
            self._returned.update((token, _WISH + token))
            raise
        finally:
            with self._lines:
                self._waiting[name].remove(place)
        return token

    def _acquire(self, token: str, name: str, limit: int, is_first: Callable[[], bool]) -> bool:
        db = self._db()
        self._give_back(db)
        with db.transaction():
            if not is_first():  # somebody may have come before it in the line while it waited for the store
                return False
            is_taken = take(db, token, name, limit, this_process())
            if is_taken:
                give_back(db, [_WISH + token])
            else:
                take(db, _WISH + token, _WISH + name, _ANY, this_process())
        return is_taken

    def sharing(self, name: str) -> int:
        """How many permits of this name there are; while the store does not answer, how many there were."""
        try:
            self._sharing[name] = count(self._db(), name)
        except StoreError as error:
            log.debug("%s; a share stays as it is", error)
        return self._sharing.get(name, 1)

    def release(self, token: str) -> None:
        """Give a permit back; a second time does nothing."""
        self._returned.add(token)
        try:
            self._give_back(self._db())
        except StoreError as error:  # whoever closes a connection is done with it, whatever the store says
            log.info("%s; a permit is given back later", error)

    def _give_back(self, db: Database) -> None:
        returned = list(self._returned)
        if returned:
            with db.transaction():
                give_back(db, returned)
            self._returned.difference_update(returned)

    def command(self, login: str, per_minute: int, check: Callable[[], None]) -> None:
        """Count one command on ``login``; waits while the last minute had ``per_minute`` of them."""
        self._until(lambda: self._command(login, per_minute), check)

    def _command(self, login: str, per_minute: int) -> bool:
        db, now = self._db(), time.time()
        with db.transaction():
            return take_command(db, login, per_minute, now)

    def _until(self, attempt: Callable[[], bool], check: Callable[[], None]) -> None:
        """Try until it succeeds; ``check`` raises to give up, what passes is waited for."""
        patience = Patience(tell=log.debug)  # the work itself tells what it waits for
        while True:
            try:
                if attempt():
                    return
            except self._passing as error:
                patience(error)
            check()
            time.sleep(LOOK_S)


def take(
    db: Database, token: str, login: str, limit: int, process: ProcessIdentity, *, worker: str | None = None
) -> bool:
    """Take one of ``limit`` permits for a process (of that worker of a fleet); inside a transaction.

    False when all are taken. A token that has one already keeps it: the answer to the commit may have been lost.
    """
    rows = db.rows("SELECT token, host, boot, pid, start_time FROM permits WHERE login = ?", (login,))
    if any(row[0] == token for row in rows):
        return True
    gone = [row[0] for row in rows if is_gone(ProcessIdentity(*row[1:]))]
    give_back(db, gone)
    if len(rows) - len(gone) >= limit:
        return False
    db.execute(
        "INSERT INTO permits (token, login, host, boot, pid, start_time, worker) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (token, login, process.host, process.boot, process.pid, process.start_time, worker),
    )
    return True


def of_kind(db: Database, kind: str) -> dict[str, tuple[set[str], int]]:
    """By name, of those that begin with ``kind``: the workers that have one, and how many."""
    rows = db.rows("SELECT login, worker, host, boot, pid, start_time FROM permits WHERE login LIKE ?", (f"{kind}%",))
    found: dict[str, tuple[set[str], int]] = {}
    for name, worker, *process in rows:
        workers, number = found.get(name, (set[str](), 0))
        if worker is not None:
            workers.add(worker)
        found[name] = workers, number + (worker is not None or not is_gone(ProcessIdentity(*process)))
    return found


def count(db: Database, name: str) -> int:
    """How many permits of this name there are, less those of processes that are seen gone."""
    rows = db.rows("SELECT host, boot, pid, start_time FROM permits WHERE login = ?", (name,))
    return sum(not is_gone(ProcessIdentity(*row)) for row in rows)


def wanted(db: Database) -> list[str]:
    """The names of the permits that processes wait for, workers not counted; inside a transaction.

    The wishes of processes that are seen gone are ended.
    """
    rows = db.rows("SELECT token, login, host, boot, pid, start_time FROM permits WHERE login LIKE ?", (f"{_WISH}%",))
    gone = [token for token, _, *process in rows if is_gone(ProcessIdentity(*process))]
    give_back(db, gone)
    return sorted({login.removeprefix(_WISH) for token, login, *_ in rows if token not in gone})


def take_command(db: Database, login: str, per_minute: int, now_s: float) -> bool:
    """Count one command on a login; inside a transaction. False when the last minute had as many as it may.

    What a clock that was wrong has put far ahead counts no longer than what is old: it would for as long as that.
    """
    db.execute("DELETE FROM commands WHERE login = ? AND (time < ? OR time > ?)", (login, now_s - 60, now_s + 60))
    if db.row("SELECT count(*) FROM commands WHERE login = ?", (login,))[0] >= per_minute:
        return False
    db.execute("INSERT INTO commands VALUES (?, ?)", (login, now_s))
    return True


def give_back(db: Database, tokens: Iterable[str]) -> None:
    """End these permits; inside a transaction. One that is not there is no error."""
    db.executemany("DELETE FROM permits WHERE token = ?", [(token,) for token in tokens])


def of_workers(db: Database) -> dict[str, set[str]]:
    """The permits that workers of a fleet have, by worker."""
    found: dict[str, set[str]] = {}
    for worker, token in db.rows("SELECT worker, token FROM permits WHERE worker IS NOT NULL"):
        found.setdefault(worker, set()).add(token)
    return found


def adopt(db: Database, token: str, worker: str) -> None:
    """The permit is another worker's now: the same process under a new id; inside a transaction."""
    db.execute("UPDATE permits SET worker = ? WHERE token = ?", (worker, token))


def workers_with(db: Database, login: str) -> list[str]:
    """The workers that have a permit of this login."""
    return [row[0] for row in db.rows(
        "SELECT DISTINCT worker FROM permits WHERE login = ? AND worker IS NOT NULL ORDER BY worker", (login,)
    )]  # fmt: skip


def of_gone_workers(db: Database, live: Collection[str], before_s: float) -> list[str]:
    """The permits of workers that are not ``live``: seen gone on this host, unknown, or ended before ``before_s``."""
    rows = db.rows(
        "SELECT token, worker, workers.id, ended, permits.host, permits.boot, permits.pid, permits.start_time"
        " FROM permits LEFT JOIN workers ON workers.id = worker WHERE worker IS NOT NULL"
    )
    return [
        token
        for token, worker, known, ended, *process in rows
        if worker not in live
        and (known is None or is_gone(ProcessIdentity(*process)) or (ended is not None and ended <= before_s))
    ]
