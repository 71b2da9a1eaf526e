"""URLs of stores and brokers: made absolute, and never with their password."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

_PASSWORD = re.compile(r"^([a-z][a-z0-9+.-]*://[^/@:]*):(.*)@", re.IGNORECASE | re.DOTALL)
_PARAMETER = re.compile(r"(?:(?<=\?)password=([^&]*)&?|&password=([^&]*))", re.IGNORECASE | re.DOTALL)

_AMQP_HOST = r"(?:\[[0-9a-fA-F:.%]+\]|[^:\[\]\s,/?#@]+)(?::\d{1,5})?"
_AMQP_PORT = re.compile(r":(\d{1,5})(?=[,/]|$)")
_AMQP_PLACE = re.compile(rf"{_AMQP_HOST}(?:,{_AMQP_HOST})*(?:/[^/?#]*)?")


class LoginUrl(str):
    """A URL without its password, which is kept beside it and never shown."""

    __slots__ = ("password",)
    password: str | None

    def __new__(cls, url: str) -> LoginUrl:
        """Take the password out of ``url``."""
        self = super().__new__(cls, without_password(url))
        found = _PASSWORD.match(url)
        parameter = _PARAMETER.search(url)
        secret = found[2] if found else (parameter[1] or parameter[2]) if parameter else None
        self.password = _decoded(secret) if secret else None
        return self


def _decoded(secret: str) -> str:
    from urllib.parse import unquote

    return unquote(secret)


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    return _PARAMETER.sub("", _PASSWORD.sub(r"\1@", url)).removesuffix("?")


def store_url(value: Any, folder: Path) -> str:
    """``sqlite:///PATH`` made absolute (a relative path lies in ``folder``), or ``postgresql://``; ``ValueError``."""
    expected = "a store such as sqlite:///wlmctl.db, sqlite:////absolute/path.db or postgresql://user@host/database"
    scheme, rest = _split(value, expected)
    if scheme in ("postgresql", "postgres"):
        return _postgresql_url(rest)
    path = rest.removeprefix("/") if not rest.startswith("//") else rest[1:]
    if scheme != "sqlite" or not rest.startswith("/") or not path or path.endswith("/") or path == ":memory:":
        raise ValueError(expected)
    try:
        absolute = folder / Path(path).expanduser()
    except RuntimeError:
        raise ValueError("a store without '~', since this login has no home folder") from None
    return f"sqlite:///{absolute}"


def _postgresql_url(rest: str) -> str:
    """As libpq reads it: several hosts, a socket's folder as ``?host=``, and settings behind the ``?``."""
    url = LoginUrl(f"postgresql://{rest}")
    place, _, _ = url.removeprefix("postgresql://").partition("?")
    _, slash, database = place.partition("/")
    if not slash or not database or "/" in database or not url.isprintable() or " " in url:
        raise ValueError("a database in the URL, such as postgresql://user@host/database")
    return url


def broker_url(value: Any, _folder: Path) -> str:
    """``memory://``, or ``amqp(s)://`` with one host or the several of a cluster; ``ValueError``."""
    expected = "a broker such as memory:// or amqps://user@host:5671/vhost"
    scheme, rest = _split(value, expected)
    if scheme == "memory" and not rest:
        return "memory://"
    url = LoginUrl(f"{scheme}://{rest}")
    place = url.rpartition("@")[2] if "@" in url else rest
    if scheme not in ("amqp", "amqps") or not _AMQP_PLACE.fullmatch(place) or not url.isprintable() or " " in url:
        raise ValueError(expected)
    if any(not 0 < int(port) < 1 << 16 for port in _AMQP_PORT.findall(place.partition("/")[0])):
        raise ValueError(f"{expected}, with a port from 1 to 65535")
    return url


def warn_of_password(where: str, key: str, url: Any) -> None:
    """Warn when a file, or an argument of a command, holds a password in a URL: others may read it."""
    if isinstance(url, str) and without_password(url) != url:
        log.warning(
            "%s: %s: a password in the URL, where others may read it; use %s_password = {command = ...}",
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
