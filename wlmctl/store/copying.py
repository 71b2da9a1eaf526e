"""Copying a whole store into an empty one, of either kind, and proving that it is the same."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from wlmctl.errors import StoreError
from wlmctl.host import ProcessIdentity, host_id, is_gone
from wlmctl.store.database import Database
from wlmctl.store.leases import TERM_S
from wlmctl.store.schema import tables

#: Rows written at once.
_BATCH = 500

#: Said of the store itself, or of the moment: written anew where the copy lies.
_NOT_COPIED = ("schema_version",)


@dataclass(frozen=True, slots=True)
class Copied:
    """One table of the copy: its rows, and a digest of their contents in any order."""

    table: str
    rows: int
    digest: str


class _Digest:
    """Counts rows, and sums their hashes: two tables have the same rows exactly when both are equal."""

    def __init__(self) -> None:
        self.rows = self._sum = 0

    def add(self, row: tuple[Any, ...]) -> None:
        content = repr(tuple(_plain(value) for value in row)).encode("utf-8", "surrogatepass")
        self._sum = (self._sum + int.from_bytes(hashlib.sha256(content).digest())) % (1 << 256)
        self.rows += 1

    def told(self, table: str) -> Copied:
        return Copied(table, self.rows, f"{self._sum:064x}")


def _plain(value: Any) -> Any:
    if isinstance(value, memoryview):
        return bytes(value)
    return float(value) if isinstance(value, float) else value


def refuse_live(db: Database, what: str, waiting: Callable[[str], None]) -> None:
    """Raise ``StoreError`` while a process works on the store; one that cannot be looked at is watched for a term."""
    suspects = _holders(db)
    if suspects:
        who = _shown(db, suspects)
        waiting(f"{who}: watching for {TERM_S:g} s whether it is alive")
        deadline = time.monotonic() + TERM_S
        while time.monotonic() < deadline:
            time.sleep(0.2)
            alive = [name for name, beat in _holders(db).items() if suspects.get(name) != beat]
            if alive or _is_here(db):
                break
        else:
            return
        raise StoreError(f"store {db.name}: {what} is refused while a process works on it ({who}): stop it first")


def _shown(db: Database, leases: Collection[str]) -> str:
    """Who holds these leases, by what stores of all versions tell."""
    rows = db.rows("SELECT name, host, pid FROM leases WHERE owner != '' ORDER BY name")
    return " and ".join(
        f"process {pid} on {'this' if host == host_id() else 'another'} host"
        for name, host, pid in rows
        if name in leases
    )


def _holders(db: Database) -> dict[str, tuple[Any, ...]]:
    """The leases whose holders are not proven gone, with their beats."""
    rows = db.rows("SELECT name, host, boot, pid, start_time, owner, epoch, beats FROM leases WHERE owner != ''")
    return {row[0]: row[5:] for row in rows if not is_gone(ProcessIdentity(*row[1:5]))}


def _is_here(db: Database) -> bool:
    """True when a holder is a live process of this host."""
    rows = db.rows("SELECT host, boot, pid, start_time FROM leases WHERE owner != ''")
    return any(row[0] == host_id() and not is_gone(ProcessIdentity(*row)) for row in rows)


def copy_store(source: Database, target: Database, told: Callable[[Copied], None]) -> list[Copied]:
    """Copy every row, with the store's id, in one transaction that is committed only when both sides are equal."""
    _refuse_filled(target)
    with source.snapshot(), target.transaction():
        target.execute("DELETE FROM meta WHERE key != 'schema_version'")
        copied = []
        for table in tables():
            columns = target.columns(table)
            if sorted(columns) != sorted(source.columns(table)):
                raise StoreError(f"store {source.name}: its table {table} is not that of this wlmctl")
            here = _copy(source, target, table, columns)
            there = _Digest()
            for row in target.pull(_select(table, columns)):
                there.add(tuple(row))
            if there.told(table) != here:
                raise StoreError(
                    f"store {target.name}: table {table} is not the same there ({there.rows} of {here.rows} rows):"
                    " nothing was copied"
                )
            copied.append(here)
            told(here)
        target.numbers_follow()
    return copied


def _refuse_filled(target: Database) -> None:
    filled = [table for table in tables() if table != "meta" and target.row(f"SELECT 1 FROM {table} LIMIT 1")]
    if filled:
        raise StoreError(f"store {target.name}: it is not empty (table {filled[0]}): copy into a new one")


def _select(table: str, columns: list[str]) -> str:
    where = f" WHERE key NOT IN ({', '.join(repr(key) for key in _NOT_COPIED)})" if table == "meta" else ""
    return f"SELECT {', '.join(_quoted(columns))} FROM {table}{where}"


def _quoted(columns: list[str]) -> list[str]:
    return [f'"{column}"' for column in columns]


def _copy(source: Database, target: Database, table: str, columns: list[str]) -> Copied:
    digest = _Digest()
    marks = ", ".join("?" * len(columns))
    insert = f"INSERT INTO {table} ({', '.join(_quoted(columns))}) VALUES ({marks})"
    batch: list[tuple[Any, ...]] = []
    for row in _digested(source.pull(_select(table, columns)), digest):
        batch.append(row)
        if len(batch) == _BATCH:
            target.executemany(insert, batch)
            batch.clear()
    if batch:
        target.executemany(insert, batch)
    return digest.told(table)


def _digested(rows: Iterator[Any], digest: _Digest) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        digest.add(tuple(row))
        yield tuple(row)
