"""The store in a PostgreSQL database, by psycopg and the plain DB-API; imported only for such a URL."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg import pq

from wlmctl.errors import StoreOutage
from wlmctl.store import postgres_errors, postgres_schema
from wlmctl.store.database import Cursor, Database, Question
from wlmctl.store.dialect import POSTGRESQL, placeholders
from wlmctl.store.postgres_bulk import Written, column_types, insert_many, pull, send
from wlmctl.store.postgres_connection import connect
from wlmctl.store.postgres_doubt import CHANGED, FOUND, Mark, settle
from wlmctl.store.postgres_listening import TELL, Listening

log = logging.getLogger(__name__)
T = TypeVar("T")

#: The most rows that are written at once.
_CHUNK = 1000

# A transaction of the store is alone in its schema: the lock is taken before its first read, as BEGIN IMMEDIATE does.
_LOCK = "SELECT pg_advisory_xact_lock(7826541, hashtext(current_schema()))"
_VERSION = "SELECT n FROM changes"
_TOLD = f"{CHANGED}, {TELL}"

#: Added to the version at each outage: what was written meanwhile, and by a commit in doubt, is read again.
_RECONNECTED = 1 << 40


class PostgresDatabase(Database):
    """The store's connection; one that breaks is made again at the next use outside a transaction."""

    dialect = POSTGRESQL

    def __init__(
        self, url: str, *, password: str | None = None, create: bool = True, any_version: bool = False
    ) -> None:
        super().__init__(url)
        self.name, self._password = url, password
        self._own = 0
        self._wrote = self._is_inside = self._is_prepared = False
        self._version: int | None = None  # of the transaction, whose lock keeps it as it is
        self._written: list[Written] = []
        self._types: dict[str, dict[str, str]] = {}
        self._listening: Listening | None = None
        self._ahead: dict[Question, psycopg.Cursor[Any]] = {}
        self._connection = connect(self.url, self._password)
        try:
            version = postgres_schema.prepare(self, create=create)
            if not any_version:
                self.refuse_version(version)
            self._is_prepared = True
        except BaseException:
            self._connection.close()
            raise

    def schema_version(self) -> int:
        """How many steps of the schema the store has taken."""
        return postgres_schema.version(self)

    def _take_steps(self, version: int) -> None:
        postgres_schema.take_steps(self, version)

    @contextmanager
    def transaction(self, ahead: Sequence[Question] = ()) -> Iterator[None]:
        """All or nothing, under the store's lock; the transaction that has written something is counted."""
        assert not self._is_inside, "a transaction inside a transaction"
        self._wrote = False
        try:
            self._again(lambda connection: self._begin(connection, ahead))
            self._is_inside = True
            yield
            self._commit()
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._is_inside, self._version = False, None
            self._ahead.clear()

    def _begin(self, connection: psycopg.Connection[Any], ahead: Sequence[Question]) -> None:
        with connection.pipeline():
            connection.execute("BEGIN")
            connection.execute(_LOCK)
            # before it is prepared there may be no tables
            version = connection.execute(_VERSION) if self._is_prepared else None
            self._ask(connection, ahead)
        self._version = version.fetchone()[0] if version is not None else None  # type: ignore[index]

    def ask_ahead(self, questions: Sequence[Question]) -> None:
        """Ask all of these in one go; ``rows`` and ``row`` have the answers until something is written."""

        def ask(connection: psycopg.Connection[Any]) -> None:
            with connection.pipeline():
                self._ask(connection, questions)

        self._send_written()
        self._guarded(ask)

    def _ask(self, connection: psycopg.Connection[Any], questions: Sequence[Question]) -> None:
        for sql, values in questions:
            self._ahead[sql, values] = connection.execute(placeholders(sql) if values else sql, values or None)

    def _commit(self) -> None:
        if not (self._wrote or self._written):
            self._run("COMMIT")
            return
        row = self._send_written(_TOLD if self.tells and not self._hears else CHANGED)
        mark = Mark(*row[:2])
        try:
            self._run("COMMIT")
        except StoreOutage as outage:
            self._is_inside = False
            settle(mark, lambda: self._again(lambda connection: self._find(connection, mark)), outage, self.patience)
        self._own += 1

    def _find(self, connection: psycopg.Connection[Any], mark: Mark) -> tuple[int, bool]:
        """The count and whether the mark is there, once a transaction that is still under way at the server is over."""
        connection.execute(_LOCK)
        found: tuple[int, bool] = connection.execute(FOUND, (mark.mark,)).fetchone()  # type: ignore[assignment]
        return found

    def _roll_back(self) -> None:
        self._written.clear()
        if self._connection.info.transaction_status not in (pq.TransactionStatus.IDLE, pq.TransactionStatus.UNKNOWN):
            with suppress(psycopg.Error):
                self._connection.execute("ROLLBACK")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads inside see the store as it was at the first of them."""
        assert not self._is_inside, "a snapshot inside a transaction"
        self._again(lambda connection: connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        self._is_inside = True
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._is_inside = False

    def _again(self, action: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Do what may be done twice: on a connection that turns out to be lost, once more on a new one."""
        tried = False
        while True:
            try:
                if self._connection.closed or self._connection.broken:
                    self._connection = connect(self.url, self._password)
                return self._guarded(action)
            except StoreOutage as outage:
                if tried:
                    if self.patience is None:
                        raise
                    self.patience(outage)
                tried = True

    def _guarded(self, action: Callable[[psycopg.Connection[Any]], T]) -> T:
        try:
            return action(self._connection)
        except (psycopg.Error, UnicodeEncodeError) as error:
            is_broken = self._connection.closed or self._connection.broken
            told = postgres_errors.of_statement(self.name, error, is_broken=is_broken)
            if isinstance(told, StoreOutage):
                self.outages += 1
                self._connection.close()
            raise told from error

    def _run(self, sql: str, values: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        self._send_written()
        # the store's statements are constants with names of columns; every value goes beside them
        text = placeholders(sql) if values else sql
        return self._guarded(lambda connection: connection.execute(text, values or None))

    def _read(self, sql: str, values: Sequence[Any], fetch: Callable[[psycopg.Cursor[Any]], T]) -> T:
        if self._is_inside:
            key = sql, tuple(values)
            return fetch(self._ahead.pop(key) if key in self._ahead else self._run(sql, values))
        text = placeholders(sql) if values else sql
        return self._again(lambda connection: fetch(connection.execute(text, values or None)))

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Cursor:
        """Run one statement."""
        if sql.startswith("SELECT"):
            return self._read(sql, values, lambda cursor: cursor)
        self._ahead.clear()
        cursor = self._run(sql, values)
        self._wrote |= cursor.rowcount != 0
        return cursor

    def write(self, sql: str, values: Sequence[Any], refused: Callable[[], Exception]) -> None:
        """Run a statement that changes one row, at the latest before the next read or the commit; else ``refused``."""
        self.write_many(sql, [values], refused)

    def write_many(self, sql: str, rows: Sequence[Sequence[Any]], refused: Callable[[], Exception]) -> None:
        """Run a statement that changes one row for each of the rows, with what else is written."""
        self._ahead.clear()
        self._written += [(sql, rows[first : first + _CHUNK], refused) for first in range(0, len(rows), _CHUNK)]
        if not self._is_inside or len(self._written) >= _CHUNK:
            self._send_written()

    def _send_written(self, last: str | None = None) -> Any:
        """Send what was written, in one go: one by one each would wait for its answer. Gives the row of ``last``."""
        if not self._written and last is None:
            return None
        written, self._written, self._wrote = self._written, [], True
        refused, row = self._guarded(lambda connection: send(connection, written, self._types_of, last))
        for _, _, why in refused:
            raise why()
        return row

    def _types_of(self, table: str) -> dict[str, str]:
        if table not in self._types:
            self._types[table] = column_types(self._connection, table)
        return self._types[table]

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row, pulled lazily."""
        self._ahead.clear()
        self._send_written()
        self._wrote |= self._guarded(lambda connection: insert_many(connection, sql, rows)) != 0

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query."""
        return self._read(sql, values, lambda cursor: cursor.fetchall())

    def row(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first row of a query, or None."""
        return self._read(sql, values, lambda cursor: cursor.fetchone())

    def pull(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """The rows of a query in pieces: the server counts a transaction idle that is not heard from."""
        if not self._is_inside:
            yield from self.execute(sql, values)
            return
        self._send_written()
        yield from pull(self._connection, self._guarded, sql, values)

    def data_version(self) -> int:
        """The count of all commits less the own ones: a query of one row, 0.1 ms on this host."""
        count = self._version if self._version is not None else self.row(_VERSION)[0]
        return int(count) - self._own + self.outages * _RECONNECTED

    @property
    def _hears(self) -> bool:
        """True while it is listening and has heard something; its own commits are told until then."""
        return self._listening is not None and self._listening.is_heard

    @property
    def look_s(self) -> float:
        """Seconds between two looks at ``data_version``."""
        return 0.02 if self._hears else 0.005

    @contextmanager
    def listening(self, told: Callable[[], None]) -> Iterator[None]:
        """Inside, ``told`` is called as soon as another connection has committed, on a thread of its own."""
        self._listening = Listening(self.url, self._password, told)
        try:
            yield
        finally:
            self._listening.close()
            self._listening = None

    def numbers_follow(self) -> None:
        """Set the sequence of experiments behind the highest number."""
        self.execute(
            "SELECT setval(pg_get_serial_sequence('experiments', 'seq'), greatest(max(seq), 1), max(seq) IS NOT NULL)"
            " FROM experiments"
        )

    def faults(self) -> list[str]:
        """None: the server checks its pages itself where it was told to."""
        return []

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def __del__(self) -> None:
        # the connections of ``Permits`` end with their threads
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()
