"""Sizes and durations as people write them: ``512MiB``, ``90s``, ``1-12:00:00``; read and shown."""

from __future__ import annotations

import math
import re

#: The texts that ``parse_size`` and ``parse_duration`` accept, as regular expressions of a whole text.
SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)? *([kKMGTP]i?)?[bB]?$"
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?|([0-9]+(\.[0-9]+)?(ms|s|m|h|d) *)+|([0-9]+-)?[0-9]{1,2}:[0-9]{2}:[0-9]{2})$"

SIZE_FORMS = "a size such as 512MiB, 2GB or a number of bytes"
DURATION_FORMS = "a duration such as 90s, 10m, 2h, 1d, 1-12:00:00 or a number of seconds"

_SIZE = re.compile(r"(\d+(?:\.\d+)?) *(?:([kKMGTP])(i?))?[bB]?", re.ASCII)
_UNITS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d) *", re.ASCII)
_CLOCK = re.compile(r"(?:(\d+)-)?(\d{1,2}):(\d{2}):(\d{2})", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PREFIXES = "KMGTP"

#: The largest size and the longest duration that are taken for more than a slip of the hand.
MAX_SIZE_BYTES = 2**63 - 1
MAX_DURATION_S = 100 * 365 * 86400.0


def parse_size(value: object) -> int:
    """The bytes of ``256GiB`` (powers of 1024), ``2GB`` (of 1000) or a number; ``ValueError`` with the forms."""
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and len(value) < 64 and (match := _SIZE.fullmatch(value)):
        number, prefix, binary = match.groups()
        power = _PREFIXES.index(prefix.upper()) + 1 if prefix else 0
        factor = (1024 if binary else 1000) ** power
        size = int(number) * factor if number.isdigit() else round(float(number) * factor)
    else:
        raise ValueError(SIZE_FORMS)
    if not 0 <= size <= MAX_SIZE_BYTES:
        raise ValueError(SIZE_FORMS)
    return size


def parse_duration(value: object) -> float:
    """The seconds of ``90s``, ``1h 30m``, ``1-12:00:00``, or a bare number; ``ValueError`` with the forms."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = min(float(value), math.inf) if abs(value) < 1e300 else math.inf
    elif isinstance(value, str) and len(value) < 64:
        seconds = _seconds_of_text(value)
    else:
        raise ValueError(DURATION_FORMS)
    if not 0 <= seconds <= MAX_DURATION_S:
        raise ValueError(DURATION_FORMS)
    return seconds


def _seconds_of_text(text: str) -> float:
    if _NUMBER.fullmatch(text):
        return float(text)
    if clock := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        if hours < 24 or not days:
            return days * 86400.0 + hours * 3600.0 + minutes * 60.0 + seconds
        raise ValueError(DURATION_FORMS)
    parts = list(_UNITS.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        raise ValueError(DURATION_FORMS)
    return sum(float(part[1]) * _SECONDS[part[2]] for part in parts)


def format_size(size_bytes: float) -> str:
    """A size for people, in three digits or so: ``1.5 GiB``, ``512 B``."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1023.95:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} PiB"


def format_duration(seconds: float) -> str:
    """A duration for people, in its two largest units: ``1h 05m``, ``42s``, ``0.3s``."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"
