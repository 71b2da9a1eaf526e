"""The check of one value: each takes what TOML gave and the file's folder, and raises ``ValueError(expected)``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wlmctl.machine import REFERENCE_KINDS, Reference
from wlmctl.quantities import parse_duration, parse_size

Check = Callable[[Any, Path], Any]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_COUNTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
#: What an option that is a secret is called, and an URL that holds one.
_SECRET = re.compile(r"(?i)secret|password|passphrase|token$|^sas|^account_key$|^connection_string$|authorization")
_PASSWORD_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]*@")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def text(value: Any, _folder: Path) -> str:
    """Any text; newlines and tabs are fine, other control characters are not."""
    if not isinstance(value, str):
        raise ValueError("a text in quotes")
    if _CONTROL.search(value):
        raise ValueError("a text without control characters")
    return value


def word(value: Any, folder: Path) -> str:
    """A text that is not empty, has no white space, and cannot be taken for an option."""
    if not text(value, folder) or value.startswith("-") or re.search(r"\s", value):
        raise ValueError("a text in quotes, not empty, without spaces, not beginning with '-'")
    return str(value)


def name(value: Any, _folder: Path) -> str:
    """A plain name."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("a name: letters, digits and _ . - (at most 64, the first a letter or a digit)")
    return value


def counter(value: str) -> str:
    """The name of a counter, as experiment files can name it."""
    if not _COUNTER.fullmatch(value):
        raise ValueError("a name: letters, digits, _ and - (at most 40, the first a letter or a digit)")
    return value


def labels(value: Any, folder: Path) -> tuple[str, ...]:
    """A list of words."""
    if not isinstance(value, list):
        raise ValueError('a list of texts such as ["gpu", "site=a"]')
    return tuple(word(item, folder) for item in value)


def hosts(value: Any, folder: Path) -> tuple[str, ...]:
    """A list of hosts, each once."""
    if not isinstance(value, list) or not value:
        raise ValueError('a list of hosts such as ["login2.cluster.example"]')
    return tuple(dict.fromkeys(word(item, folder) for item in value))


def names(value: Any, folder: Path) -> tuple[str, ...]:
    """A list of plain names, each once."""
    if not isinstance(value, list) or not value:
        raise ValueError('a list of names such as ["alpha", "beta"]')
    return tuple(dict.fromkeys(name(item, folder) for item in value))


def integer(least: int, most: int = 2**31 - 1) -> Check:
    """A check for an integer between ``least`` and ``most``."""
    expected = f"an integer from {least} to {most}" if most < 2**31 - 1 else f"an integer of at least {least}"

    def check(value: Any, _folder: Path) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(expected)
        return value

    return check


def size(value: Any, _folder: Path) -> int:
    """Bytes, more than none."""
    if not (size_bytes := parse_size(value)):
        raise ValueError("a size of more than 0")
    return size_bytes


def size_between(least: str, most: str) -> Check:
    """A check for bytes between two sizes."""
    expected = f"a size from {least} to {most}"

    def check(value: Any, _folder: Path) -> int:
        size_bytes = parse_size(value)
        if not parse_size(least) <= size_bytes <= parse_size(most):
            raise ValueError(expected)
        return size_bytes

    return check


def duration(least: str, most: str) -> Check:
    """A check for seconds between two durations."""
    expected = f"a duration from {least} to {most}"

    def check(value: Any, _folder: Path) -> float:
        duration_s = parse_duration(value)
        if not parse_duration(least) <= duration_s <= parse_duration(most):
            raise ValueError(expected)
        return duration_s

    return check


def one_of(*words: str) -> Check:
    """A check for one of a few words."""
    expected = f"{', '.join(map(repr, words[:-1]))} or {words[-1]!r}"

    def check(value: Any, _folder: Path) -> str:
        if value not in words:
            raise ValueError(expected)
        return str(value)

    return check


def file(value: Any, folder: Path) -> str:
    """The path of a file on this host, made absolute: relative means relative to the configuration file."""
    if not text(value, folder):
        raise ValueError("the path of a file")
    return str(folder / _expanded(value))


def scratch(value: Any, folder: Path) -> str:
    """A folder on a machine."""
    if not text(value, folder) or "\n" in value:
        raise ValueError("the path of a folder")
    if not value.startswith(("/", "~/", "$")):
        raise ValueError("a path that begins with '/', '~/' or a variable such as $SCRATCH")
    return str(value)


def local_scratch(value: Any, folder: Path) -> str:
    """A folder on this host: also one relative to the configuration file."""
    if text(value, folder) and value[0] not in "/~$":
        return str(folder / value)
    return scratch(value, folder)


def table(value: Any, _folder: Path) -> Mapping[str, Any]:
    """A table whose keys a plugin checks."""
    if not isinstance(value, dict):
        raise ValueError("a table")
    return value


def options(value: Any, folder: Path) -> Mapping[str, Any]:
    """A table whose keys a plugin checks, where secrets stand as references."""
    return {key: _option(key, each, folder) for key, each in table(value, folder).items()}


def _option(key: str, value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        if len(value) != 1 or not set(value) <= REFERENCE_KINDS:
            return options(value, folder)
        found = reference(value, folder)
        return {found.kind: found.value}
    if isinstance(value, str) and (_SECRET.search(key) or _PASSWORD_IN_URL.search(value)):
        raise ValueError(f'for {key} {{env = "NAME"}}, {{file = "PATH"}} or {{command = "TEXT"}}: it is a secret')
    return value


def reference(value: Any, folder: Path) -> Reference:
    """The place of a secret."""
    expected = '{env = "NAME"}, {file = "PATH"} or {command = "TEXT"}: a secret is never in this file itself'
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(expected)
    ((kind, place),) = value.items()
    if kind not in REFERENCE_KINDS or not isinstance(place, str) or not place or _CONTROL.search(place):
        raise ValueError(expected)
    return Reference(kind, file(place, folder) if kind == "file" else place)


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError("a path without '~', since this login has no home folder") from None
