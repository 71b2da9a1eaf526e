"""The store in one SQLite file: WAL, ``synchronous=FULL``, immediate transactions."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wlmctl.errors import NoStore, StoreBusy, StoreError, UsageError, WlmctlError
from wlmctl.store.database import Database, Question
from wlmctl.store.dialect import SQLITE
from wlmctl.store.schema import SCHEMA_VERSION, STEPS, statements
from wlmctl.text import shown

#: Seconds to wait for another process's short transaction before the store counts as stuck.
BUSY_TIMEOUT_S = 30.0

_CANNOT_OPEN, _LOCKED = "unable to open database file", "database is locked"

#: File systems on which SQLite's locks and shared memory cannot be trusted.
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "afs", "ceph", "glusterfs", "fuse.sshfs", "beegfs", "9p"}
)


def store_path(url: str) -> Path:
    """The file of a store URL ``sqlite:///PATH``; other kinds are refused."""
    scheme, separator, rest = url.partition("://")
    if scheme != "sqlite" or not separator:
        raise UsageError(f"store: {url!r} is no store URL, expected sqlite:///PATH or postgresql://USER@HOST/DATABASE")
    path = rest.removeprefix("/") if not rest.startswith("//") else rest[1:]
    if not path:
        raise UsageError(f"store: {url!r} names no file, expected sqlite:///PATH")
    return Path(path).expanduser()


def is_absent(url: str) -> bool:
    """True when the store's file is not there; one that cannot be looked at is there, and opening it says why."""
    try:
        store_path(url).stat()
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return False


class SqliteDatabase(Database):
    """The store's connection. Every error of SQLite becomes a ``StoreError`` that names the file."""

    dialect = SQLITE

    def __init__(self, url: str, *, create: bool = True, any_version: bool = False, empty: bool = False) -> None:
        """Open the store; ``create`` makes one that is not there. ``empty``: one in memory that stands for it."""
        super().__init__(url)
        if empty:
            self.path, self.name = Path(url), url
            self._connection = sqlite3.connect(":memory:", isolation_level=None)
            self._prepare()
            return
        self.path = store_path(url)
        self.name = str(self.path)
        self._refuse_network_file_system()
        if not create and is_absent(url):
            raise NoStore(f"store {self.path}: there is no such file")
        try:
            if create:
                self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"store {self.path}: its folder cannot be made: {error.strerror}") from error
        with self._errors():
            self._connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            self._connection.execute("PRAGMA busy_timeout = 30000")
        try:
            with self._errors():
                version = self._prepare()
            if not any_version:
                self.refuse_version(version)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> int:
        execute = self._connection.execute
        version = self.schema_version()
        if version == 0:
            execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        if version == 0:
            with self.transaction():
                version = self.schema_version()
                if version == 0:
                    if execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                        raise StoreError(f"store {self.path}: this is a database of another program")
                    self._take_steps(0)
                    execute("INSERT INTO meta VALUES ('store_id', ?)", (os.urandom(16).hex(),))
                    version = SCHEMA_VERSION
        return version

    def schema_version(self) -> int:
        """How many steps of the schema the store has taken."""
        return int(self.row("PRAGMA user_version")[0])

    def _take_steps(self, version: int) -> None:
        for step in STEPS[version:]:
            for statement in statements(step):
                self.execute(statement)
        self.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _refuse_network_file_system(self) -> None:
        kind = file_system(self.path)
        if kind in NETWORK_FILE_SYSTEMS:
            raise StoreError(
                f"store {self.path}: it lies on a network file system ({kind}), where SQLite loses data: "
                "put it on a local disk"
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeEncodeError) as error:
            raise self._error(error) from error

    def _error(self, error: sqlite3.Error | UnicodeEncodeError) -> WlmctlError:
        if isinstance(error, UnicodeEncodeError):
            return UsageError(f"'{shown(error.object)}': this is not UTF-8")
        if str(error) == _CANNOT_OPEN and self.path.exists() and not os.access(self.path.parent, os.W_OK):
            return StoreError(f"store {self.path}: it is read-only for this user, or its folder is")
        kind = StoreBusy if str(error) == _LOCKED else StoreError
        return kind(f"store {self.path}: {_explain(error)}")

    @contextmanager
    def transaction(self, ahead: Sequence[Question] = ()) -> Iterator[None]:  # noqa: ARG002 (a question takes no time)
        """All or nothing: ``BEGIN IMMEDIATE`` before the first read, then ``COMMIT``, or ``ROLLBACK`` on an error."""
        with self._inside("BEGIN IMMEDIATE"):
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads inside see the store as it was at the first of them."""
        with self._inside("BEGIN"):
            yield

    @contextmanager
    def _inside(self, begin: str) -> Iterator[None]:
        with self._errors():
            self._connection.execute(begin)
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        try:
            return self._connection.execute(sql, values)
        except (sqlite3.Error, UnicodeEncodeError) as error:
            raise self._error(error) from error

    def write(self, sql: str, values: Sequence[Any], refused: Callable[[], Exception]) -> None:
        """Run a statement that changes one row; else ``refused`` is raised."""
        if self.execute(sql, values).rowcount != 1:
            raise refused()

    def write_many(self, sql: str, rows: Sequence[Sequence[Any]], refused: Callable[[], Exception]) -> None:
        """Run a statement that changes one row for each of the rows; else ``refused`` is raised."""
        try:
            cursor = self._connection.executemany(sql, rows)
        except (sqlite3.Error, UnicodeEncodeError) as error:
            raise self._error(error) from error
        if cursor.rowcount != len(rows):
            raise refused()

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row, pulled lazily."""
        with self._errors():
            self._connection.executemany(sql, rows)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query."""
        with self._errors():
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first row of a query, or None."""
        with self._errors():
            return self._connection.execute(sql, values).fetchone()

    def pull(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """The rows of a query one by one."""
        with self._errors():
            yield from self._connection.execute(sql, values)

    def data_version(self) -> int:
        """A number that changes when another connection has committed; own commits do not change it (4 µs)."""
        return int(self.row("PRAGMA data_version")[0])

    def numbers_follow(self) -> None:
        """SQLite takes the highest number and one by itself."""

    def faults(self) -> list[str]:
        """What ``PRAGMA integrity_check`` finds."""
        return [str(row[0]) for row in self.rows("PRAGMA integrity_check") if row[0] != "ok"]

    def close(self) -> None:
        """End the connection."""
        with self._errors():
            self._connection.close()


def file_system(path: Path) -> str | None:
    """The type of the file system that ``path`` is (or will be) on, by the kernel's mount table; None: not known."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    target = os.path.realpath(path)
    best, kind = -1, None
    for line in mounts:
        fields, _, tail = line.partition(" - ")
        mount = fields.split(" ")[4].encode().decode("unicode_escape")
        inside = target == mount or target.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= best:
            best, kind = len(mount), tail.split(" ")[0]
    return kind


def _explain(error: sqlite3.Error) -> str:
    text = str(error)
    known = {
        "database or disk is full": "the disk is full",
        "attempt to write a readonly database": "it is read-only for this user",
        _CANNOT_OPEN: "it cannot be opened or created: check the folder and its permissions",
        "file is not a database": "this is no wlmctl store, or it is broken",
        "database disk image is malformed": "it is broken (malformed): restore it from a backup",
        _LOCKED: "another process has kept it locked for too long",
        "disk I/O error": "the disk reported an error (full, or failing)",
    }
    return known.get(text, text)
