"""The lines of a trace, plain or gzipped, and mistakes in them: the file, the line, what was found and expected."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from wlmctl.errors import InvalidFile, Mistake, UsageError
from wlmctl.text import in_quotes, shown


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file, numbered from 1; ``.gz`` is told by its content, not by its name."""
    number = 0
    try:
        with path.open("rb") as file:
            is_gzipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            for number, line in enumerate(gzip.GzipFile(fileobj=file) if is_gzipped else file, 1):
                yield number, line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        wrong(path, number, "", "bytes that are no UTF-8", "text, or text packed by gzip")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        wrong(path, number or None, "", f"broken gzip data ({error})", "a whole file")
    except OSError as error:
        raise UsageError(f"{shown(str(path))}: {error.strerror or error}") from error


def wrong(path: Path, line: int | None, key: str, found: str, expected: str, hint: str = "") -> NoReturn:
    """Tell the mistake."""
    raise InvalidFile([Mistake(shown(str(path)), line, key, found, expected, hint)])


def number(path: Path, line: int, key: str, text: str) -> float:
    """A number of a line."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        wrong(path, line, key, in_quotes(text), "a number")
    return value


def whole(path: Path, line: int, key: str, text: str, least: int, most: float = math.inf) -> int:
    """A whole number of a line, at least ``least`` and at most ``most``."""
    value = number(path, line, key, text)
    if value != int(value) or not least <= value <= most:
        bounds = f"at least {least}" if most == math.inf else f"{least} to {most:,.0f}"
        wrong(path, line, key, in_quotes(text), f"a whole number of {bounds}")
    return int(value)
