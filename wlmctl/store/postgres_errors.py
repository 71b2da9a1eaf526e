"""PostgreSQL's errors as the store's own: one line each, and whether waiting may help."""

from __future__ import annotations

import psycopg

from wlmctl.errors import StoreBusy, StoreError, StoreOutage, UsageError, WlmctlError
from wlmctl.text import shown

#: Beginnings of SQLSTATE after which the connection is gone, or which pass: shut down, starting, too many clients.
_OUTAGES = ("08", "57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "53300")

#: What a lock that was waited for too long ends with.
_LOCKED = "55P03"

_KNOWN = {
    "25006": "it is read-only (a standby?)",
    "42501": "this user may not use it",
    "53100": "the disk of its server is full",
    "53200": "its server is out of memory",
}

# libpq tells a refused connection by text alone. What is not among these may pass, and is waited for.
_REFUSED = (
    ("password authentication failed", "the password is wrong"),
    ("no password supplied", "it asks for a password: give store_password, or a URL with one in WLMCTL_STORE"),
    ("authentication failed", "the login is refused"),
    ("no pg_hba.conf entry", "its server takes no logins from here (pg_hba.conf)"),
    ("permission denied for database", "this user may not use the database"),
    ("does not support SSL", "its server offers no TLS, which the URL asks for"),
    ("certificate verify failed", "the certificate of its server is not trusted"),
    ("certificate", "TLS is refused"),
    ("not a valid connection option", "its URL is wrong"),
    ("invalid ", "its URL is wrong"),
    ("could not parse", "its URL is wrong"),
)


def one_line(error: BaseException) -> str:
    """The text of an error, shortened to what a user needs."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shown("; ".join(dict.fromkeys(lines))) or type(error).__name__


def not_connected(name: str, error: psycopg.Error) -> StoreError:
    """A connection that was not made: refused for good, or not to be had now."""
    text = one_line(error)
    if 'database "' in text and "does not exist" in text:
        return StoreError(f"store {name}: there is no such database: make it with createdb ({_reason(text)})")
    if 'role "' in text and "does not exist" in text:
        return StoreError(f"store {name}: there is no such user ({_reason(text)})")
    for sign, meaning in _REFUSED:
        if sign in text:
            return StoreError(f"store {name}: {meaning} ({_reason(text)})")
    return StoreOutage(f"store {name}: it does not answer: {_reason(text)}")


def _reason(text: str) -> str:
    """What libpq says last: the address comes first."""
    parts = [part for part in text.split("; ") if not part.startswith(("Is the server", "Multiple connection"))]
    last = (parts or [text])[-1]
    return last.rpartition("failed: ")[2].removeprefix("FATAL:").strip() or last


def of_statement(name: str, error: psycopg.Error | UnicodeEncodeError, *, is_broken: bool) -> WlmctlError:
    """A statement that failed; ``is_broken``: the connection is gone."""
    if isinstance(error, UnicodeEncodeError):
        return UsageError(f"'{shown(error.object)}': this is not UTF-8")
    code = error.sqlstate or ""
    if is_broken or code.startswith(_OUTAGES):
        return StoreOutage(f"store {name}: the connection was lost: {one_line(error)}")
    if code == _LOCKED:
        return StoreBusy(f"store {name}: another process has kept it locked for too long: {one_line(error)}")
    if code in _KNOWN:
        return StoreError(f"store {name}: {_KNOWN[code]}: {one_line(error)}")
    return StoreError(f"store {name}: {one_line(error)}")
