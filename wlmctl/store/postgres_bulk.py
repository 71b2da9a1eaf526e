"""Many rows at once: one statement for all, its values as arrays, and all statements in one pipeline.

Each row as a statement of its own would cost the server and psycopg several times as much.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import psycopg

from wlmctl.errors import StoreOutage
from wlmctl.store.dialect import placeholders

#: A statement, its rows of values, and what is raised when it has not changed one row for each.
Written = tuple[str, Sequence[Sequence[Any]], Callable[[], Exception]]

#: Rows fetched at once by ``pull``.
_CHUNK = 1000

#: The types of a table's columns, by name, in order.
Types = Callable[[str], dict[str, str]]

# A plain insert: its table, with its columns where they are named.
_INSERT = re.compile(r"INSERT INTO (\w+)( \([^)]*\))? VALUES \([?, ]*\)")

_SETTING = r"\w+ = \?"
_UPDATE = re.compile(rf"UPDATE (\w+) SET ({_SETTING}(?:, {_SETTING})*) WHERE ({_SETTING}(?: AND {_SETTING})*)")

# Without statistics, which a new experiment never has, the planner would rather read all of its tasks than look up the
# few that are changed: a nested loop over the primary key is all that it is left with.
_PLAN = "SELECT " + ", ".join(
    f"set_config('enable_{what}', 'off', true)" for what in ("hashjoin", "mergejoin", "seqscan")
)

_TYPES = (
    "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
    " WHERE attrelid = CAST(%s AS regclass) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
)


def column_types(connection: psycopg.Connection[Any], table: str) -> dict[str, str]:
    """The types of the table's columns, as the server has them."""
    return dict(connection.execute(_TYPES, (table,)).fetchall())


def insert_many(connection: psycopg.Connection[Any], sql: str, rows: Iterable[Sequence[Any]]) -> int:
    """Run the statement for each row, pulled lazily; how many rows were changed."""
    insert = _INSERT.fullmatch(sql)
    with connection.cursor() as cursor:
        if insert is None:
            cursor.executemany(placeholders(sql), rows)
            return cursor.rowcount
        with cursor.copy(f"COPY {insert[1]}{insert[2] or ''} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return cursor.rowcount


def send(
    connection: psycopg.Connection[Any], written: Sequence[Written], types: Types, last: str | None = None
) -> tuple[list[Written], Any]:
    """Run all in their order, and ``last`` behind them.

    Returns those that have not changed one row for each of theirs, and the row that ``last`` gives.
    """
    sent = []
    for sql, rows, _ in written:
        joined = _joined(sql, rows, types) if len(rows) > 1 else None
        sent.append([(placeholders(sql), row) for row in rows] if joined is None else [joined])
    with connection.pipeline():
        if any(len(rows) > 1 for _, rows, _ in written):
            connection.execute(_PLAN)
        cursors = [[connection.execute(sql, values) for sql, values in statements] for statements in sent]
        found = connection.execute(last) if last is not None else None
    refused = [
        each
        for each, own in zip(written, cursors, strict=True)
        if sum(cursor.rowcount for cursor in own) != len(each[1])
    ]
    return refused, found.fetchone() if found is not None else None


def _joined(sql: str, rows: Sequence[Sequence[Any]], types: Types) -> tuple[str, Sequence[Any]] | None:
    """The statement for all rows and its values; None where it is none of the plain ones."""
    columns = list(zip(*rows, strict=True))
    is_same = tuple([column.count(column[0]) == len(column) for column in columns])
    if (update := _UPDATE.fullmatch(sql)) is not None:
        table, set_, where = update.groups()
        names = tuple([setting.split()[0] for setting in (*set_.split(", "), *where.split(" AND "))])
        set_count = set_.count("?")
    elif (insert := _INSERT.fullmatch(sql)) is not None and insert[2] is None:
        table, names = insert[1], tuple(types(insert[1]))
        set_count = len(names)
    else:
        return None
    known = types(table)
    kinds = tuple([known[name] for name in names])
    is_same = tuple([same and number < set_count for number, same in enumerate(is_same)])  # keys are looked up
    if all(is_same) or any(kind == "bytea" and not same for kind, same in zip(kinds, is_same, strict=True)):
        return None
    text = _text(table, names, kinds, is_same, set_count, is_insert=update is None)
    firsts = [column[0] for column, same in zip(columns, is_same, strict=True) if same]
    arrays = [_array(column) for column, same in zip(columns, is_same, strict=True) if not same]
    return text, (*firsts, *arrays)


@lru_cache(maxsize=512)
def _text(
    table: str, names: tuple[str, ...], types: tuple[str, ...], is_same: tuple[bool, ...], set_count: int, *,
    is_insert: bool,
) -> str:  # fmt: skip
    """The statement: what is the same in all rows stands in it as one value, the rest comes from arrays."""
    sources = [f"CAST(%s AS {kind})" if same else f"u.v{number}"
               for number, (kind, same) in enumerate(zip(types, is_same, strict=True))]  # fmt: skip
    unnest = ", ".join(f"CAST(%s AS {kind}[])" for kind, same in zip(types, is_same, strict=True) if not same)
    aliases = ", ".join(f"v{number}" for number, same in enumerate(is_same) if not same)
    rows = f"FROM unnest({unnest}) AS u ({aliases})"
    if is_insert:
        return f"INSERT INTO {table} SELECT {', '.join(sources)} {rows}"
    pairs = list(zip(names, sources, strict=True))
    settings = ", ".join(f"{name} = {source}" for name, source in pairs[:set_count])
    where = " AND ".join(f"{table}.{name} = {source}" for name, source in pairs[set_count:])
    return f"UPDATE {table} SET {settings} {rows} WHERE {where}"


def _array(values: Sequence[Any]) -> str:
    """Values as the text of an array."""
    return "{" + ",".join([_element(value) for value in values]) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        if "\0" in value:  # as in every other text
            value = value.replace("\0", "\\x00")
        if "\\" in value or '"' in value:
            value = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{value}"'
    return str(int(value)) if isinstance(value, bool) else repr(value)


def pull(
    connection: psycopg.Connection[Any],
    guarded: Callable[[Callable[[psycopg.Connection[Any]], Any]], Any],
    sql: str,
    values: Sequence[Any],
) -> Iterator[Any]:
    """The rows of a query, fetched in pieces inside a transaction; ``guarded`` translates the errors of each step."""
    cursor = connection.cursor(f"pull_{os.urandom(4).hex()}")
    try:
        guarded(lambda _: cursor.execute(placeholders(sql), values or None))
        is_more = True
        while is_more:
            rows = guarded(lambda _: cursor.fetchmany(_CHUNK))
            is_more = len(rows) == _CHUNK
            yield from rows
    finally:
        try:
            guarded(lambda _: cursor.close())
        except StoreOutage:
            cursor.close()  # its connection is closed by now: this only notes that it is, too
            raise
