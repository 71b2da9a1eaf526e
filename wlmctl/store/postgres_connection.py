"""Making a connection to PostgreSQL: time-outs, encoding, and how values travel."""

from __future__ import annotations

from typing import Any, cast

import psycopg
from psycopg.abc import Buffer
from psycopg.types.numeric import FloatLoader, Int8Dumper
from psycopg.types.string import StrDumper

from wlmctl.errors import StoreError
from wlmctl.store import postgres_errors

#: Seconds to wait for a connection, and for another process's short transaction.
CONNECT_TIMEOUT_S, LOCK_TIMEOUT_S = 10, 30

#: Seconds that a process may hold the store's lock without a word: then the server takes the lock from it.
IDLE_TIMEOUT_S = 3

_SESSION = (
    f"SET idle_in_transaction_session_timeout = '{IDLE_TIMEOUT_S}s'; SET lock_timeout = '{LOCK_TIMEOUT_S}s';"
    " SET client_min_messages = warning;"
    # compiling costs more than any of the store's statements, and the plans of ``postgres_bulk`` look dear
    " SET jit = off;"
    # a commit that was told must survive: a server-wide 'off' is for others
    " SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)


class _BoolDumper(Int8Dumper):
    """Truth as 0 or 1, as SQLite has it."""

    def dump(self, obj: Any) -> Buffer | None:
        return super().dump(int(obj))


class _TextDumper(StrDumper):
    r"""Text without NUL, which PostgreSQL does not keep: it stands as ``\x00``."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", "\\x00") if "\0" in obj else obj)


def connect(url: str, password: str | None) -> psycopg.Connection[Any]:
    """A connection in autocommit; ``StoreOutage`` where it may be had later, else ``StoreError``."""
    try:
        connection = psycopg.connect(
            url, password=password, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S, application_name="wlmctl",
            keepalives_idle=5, keepalives_interval=2, keepalives_count=3, tcp_user_timeout=15_000,
            client_encoding="UTF8",
        )  # fmt: skip
    except (psycopg.Error, UnicodeError) as error:
        raise postgres_errors.not_connected(url, cast(psycopg.Error, error)) from error
    try:
        connection.adapters.register_dumper(bool, _BoolDumper)
        connection.adapters.register_dumper(str, _TextDumper)
        connection.adapters.register_loader("numeric", FloatLoader)
        connection.execute(_SESSION)
    except psycopg.Error as error:
        connection.close()
        raise postgres_errors.of_statement(url, error, is_broken=True) from error
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        connection.close()
        raise StoreError(f"store {url}: its encoding is {encoding}: make it with createdb --encoding=UTF8")
    return connection
