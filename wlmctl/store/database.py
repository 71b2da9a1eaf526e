"""What the store needs of a database, and what both of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar, Protocol, Self

from wlmctl.errors import StoreError, StoreOutage
from wlmctl.store.dialect import Dialect
from wlmctl.store.schema import SCHEMA_VERSION

#: A query and its values.
Question = tuple[str, tuple[Any, ...]]


class Cursor(Protocol):
    """The rows of a query, pulled one by one, or the count of rows that a statement has changed."""

    @property
    def rowcount(self) -> int:
        """How many rows the statement has changed."""
        ...

    @property
    def description(self) -> Sequence[Any] | None:
        """The columns of the rows; the first of each is its name."""
        ...

    def fetchone(self) -> Any:
        """The next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Database(ABC):
    """One connection to the store, owned by the thread that opened it; ``open_database`` makes one.

    Statements are written for both databases, with ``?`` for values. Every error is a ``StoreError`` of one line that
    names the store: a ``StoreOutage`` where the database does not answer, or has broken the connection off. Then
    nothing of the transaction is left (``CommitInDoubt``: that is not known), and the next use connects again.
    """

    dialect: ClassVar[Dialect]

    #: True: its commits are told to who is ``listening``; False where nobody waits for them.
    tells = True

    #: The store as messages name it: without a password.
    name: str

    def __init__(self, url: str) -> None:
        self.url = url
        #: Called with the outage where waiting loses nothing (a read, the beginning of a transaction): it waits and
        #: returns to try again, or raises. None: the outage is raised at once.
        self.patience: Callable[[StoreOutage], None] | None = None
        #: How often the connection was lost.
        self.outages = 0

    @abstractmethod
    def transaction(self, ahead: Sequence[Question] = ()) -> AbstractContextManager[None]:
        """All or nothing, and alone: no other process writes between its first read and its commit.

        ``ahead``: see ``ask_ahead``.
        """

    def ask_ahead(self, questions: Sequence[Question]) -> None:  # noqa: B027 (where a question takes no time)
        """Where a question takes its time, ask all of these at once; inside a transaction.

        ``rows`` and ``row`` then have the answers, each of them once, until something is written.
        """

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[None]:
        """Reads inside see the store as it was at the first of them; nothing may be written."""

    @abstractmethod
    def execute(self, sql: str, values: Sequence[Any] = ()) -> Cursor:
        """Run one statement."""

    @abstractmethod
    def write(self, sql: str, values: Sequence[Any], refused: Callable[[], Exception]) -> None:
        """Run a statement that changes one row, at the latest before the next read or the commit; else ``refused``.

        What is written one after the other inside a transaction travels together.
        """

    @abstractmethod
    def write_many(self, sql: str, rows: Sequence[Sequence[Any]], refused: Callable[[], Exception]) -> None:
        """``write`` for each of the rows; how many rows of them were refused is not told."""

    @abstractmethod
    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row, pulled lazily."""

    @abstractmethod
    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query."""

    @abstractmethod
    def row(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first row of a query, or None."""

    @abstractmethod
    def pull(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """The rows of a query one by one, in bounded memory; PostgreSQL is heard from again and again meanwhile."""

    @abstractmethod
    def data_version(self) -> int:
        """A number that changes when another connection has committed; own commits do not change it."""

    @property
    def look_s(self) -> float:
        """Seconds between two looks at ``data_version`` by who waits for others to write."""
        return 0.01

    @contextmanager
    def listening(self, told: Callable[[], None]) -> Iterator[None]:  # noqa: ARG002 (where the database can tell)
        """Inside, ``told`` is called as soon as another connection has committed, on a thread of its own.

        That it is called is not sure: looks are needed all the same.
        """
        yield

    @abstractmethod
    def schema_version(self) -> int:
        """How many steps of the schema the store has taken."""

    def take_steps(self) -> int:
        """Bring an older store up to date, in one transaction; returns the version it had."""
        with self.transaction():
            version = self.schema_version()
            if version < SCHEMA_VERSION:
                self._take_steps(version)
        return version

    @abstractmethod
    def _take_steps(self, version: int) -> None:
        """Take the schema's steps after ``version`` and note that they were taken; inside a transaction."""

    @abstractmethod
    def numbers_follow(self) -> None:
        """New experiments get numbers behind those that were written with theirs; inside a transaction."""

    @abstractmethod
    def faults(self) -> list[str]:
        """What the database itself finds broken in its files."""

    @abstractmethod
    def close(self) -> None:
        """End the connection."""

    @property
    def store_id(self) -> str:
        """The random name that this store was given when it was created."""
        return str(self.row("SELECT value FROM meta WHERE key = 'store_id'")[0])

    def columns(self, table: str) -> list[str]:
        """The names of a table's columns, in order."""
        return [column[0] for column in self.execute(f"SELECT * FROM {table} LIMIT 0").description or ()]

    def refuse_version(self, version: int) -> None:
        """Raise ``StoreError`` for a store that this program must not use as it is."""
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"store {self.name}: its version is {version}, this wlmctl reads up to {SCHEMA_VERSION}: upgrade wlmctl"
            )
        if version < SCHEMA_VERSION:
            raise StoreError(
                f"store {self.name}: its version is {version}, this wlmctl needs {SCHEMA_VERSION}:"
                " stop what works on it, then type: wlmctl db upgrade"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
