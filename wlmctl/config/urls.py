"""URLs of stores and brokers: made absolute, and never with their password."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from wlmctl.errors import NotYet

log = logging.getLogger(__name__)

_PASSWORD = re.compile(r"^([a-z][a-z0-9+.-]*://[^/@:]*):.*@", re.IGNORECASE | re.DOTALL)


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    return _PASSWORD.sub(r"\1@", url)


def store_url(value: Any, folder: Path) -> str:
    """``sqlite:///PATH`` made absolute: a relative path lies in ``folder``. Raises ``ValueError`` or ``NotYet``."""
    expected = "a store such as sqlite:///wlmctl.db or sqlite:////absolute/path.db"
    scheme, rest = _split(value, expected)
    if scheme in ("postgresql", "postgres"):
        raise NotYet(f"a store {scheme}://")
    path = rest.removeprefix("/") if not rest.startswith("//") else rest[1:]
    if scheme != "sqlite" or not rest.startswith("/") or not path or path.endswith("/") or path == ":memory:":
        raise ValueError(expected)
    try:
        absolute = folder / Path(path).expanduser()
    except RuntimeError:
        raise ValueError("a store without '~', since this login has no home folder") from None
    return f"sqlite:///{absolute}"


def broker_url(value: Any, _folder: Path) -> str:
    """``memory://``. Raises ``ValueError`` or ``NotYet``."""
    expected = "the broker memory://"
    scheme, _rest = _split(value, expected)
    if scheme in ("amqp", "amqps"):
        raise NotYet(f"a broker {scheme}://")
    if value != "memory://":
        raise ValueError(expected)
    return "memory://"


def warn_of_password(where: str, key: str, url: Any) -> None:
    """Warn when a file holds a password in a URL: others may read the file."""
    if isinstance(url, str) and _PASSWORD.match(url):
        log.warning(
            "%s: %s: a password in the URL, in a file others may read; use %s_password = {command = ...}",
            where,
            key,
            key,
        )


def _split(value: Any, expected: str) -> tuple[str, str]:
    if not isinstance(value, str) or "\x00" in value or "\n" in value:
        raise ValueError(expected)
    scheme, separator, rest = value.partition("://")
    if not separator:
        raise ValueError(expected)
    return scheme.lower(), rest
