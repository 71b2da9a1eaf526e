"""Many rows at once: plain inserts travel as ``COPY``, updates as one pipeline, instead of waiting for each answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import psycopg

from wlmctl.store.dialect import placeholders

#: A statement, its values, and what is raised when it has not changed one row.
Written = tuple[str, Sequence[Any], Callable[[], Exception]]

# A plain insert: its table, with its columns where they are named.
_INSERT = re.compile(r"INSERT INTO (\w+(?: \([^)]*\))?) VALUES \([?, ]*\)")


def insert_many(connection: psycopg.Connection[Any], sql: str, rows: Iterable[Sequence[Any]]) -> int:
    """Run the statement for each row, pulled lazily; how many rows were changed."""
    insert = _INSERT.fullmatch(sql)
    with connection.cursor() as cursor:
        if insert is None:
            cursor.executemany(placeholders(sql), rows)
            return cursor.rowcount
        with cursor.copy(f"COPY {insert[1]} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return cursor.rowcount


def send(connection: psycopg.Connection[Any], written: Sequence[Written]) -> list[Written]:
    """Run all: updates in their order, then inserts; returns those that have not changed one row."""
    inserts: dict[str, list[Sequence[Any]]] = {}
    updates: list[Written] = []
    for each in written:
        if _INSERT.fullmatch(each[0]):
            inserts.setdefault(each[0], []).append(each[1])
        else:
            updates.append(each)
    with connection.pipeline():
        cursors = [connection.execute(placeholders(sql), values) for sql, values, _ in updates]
    for sql, rows in inserts.items():
        insert_many(connection, sql, rows)
    return [each for each, cursor in zip(updates, cursors, strict=True) if cursor.rowcount != 1]
