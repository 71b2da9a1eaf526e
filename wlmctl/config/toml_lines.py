"""Where each key of a TOML text stands: a light scan, since ``tomllib`` keeps no line numbers."""

from __future__ import annotations

import re

_KEY = re.compile(
    r"""\s*(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+))*"""
)
_PART = re.compile(r"""("(?:[^"\\]|\\.)*")|('[^']*')|([A-Za-z0-9_-]+)""")

Path = tuple[str, ...]


def key_lines(text: str) -> dict[Path, int]:
    """The line (from 1) of each table and key; keys of inline tables are found under the key that holds them."""
    lines: dict[Path, int] = {}
    table: Path = ()
    position, line = 0, 1
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        stripped = text[position:end].lstrip()
        after = end
        if stripped.startswith("["):
            match = _KEY.match(stripped.lstrip("["))
            table = _parts(match.group()) if match else ()
            for parts in range(1, len(table) + 1):  # a table stands also where the first within it does
                lines.setdefault(table[:parts], line)
        elif stripped and not stripped.startswith("#") and (match := _KEY.match(text, position, end)):
            lines.setdefault(table + _parts(match.group()), line)
            equals = text.find("=", match.end(), end)
            after = _end_of_value(text, equals + 1) if equals >= 0 else end
        line += text.count("\n", position, after) + 1
        position = after + 1
    return lines


def line_of(lines: dict[Path, int], key: Path) -> int | None:
    """The line of ``key``, or of the nearest table that holds it."""
    while key:
        if key in lines:
            return lines[key]
        key = key[:-1]
    return None


def _parts(text: str) -> Path:
    return tuple((double or single)[1:-1] if double or single else bare for double, single, bare in _PART.findall(text))


def _end_of_value(text: str, position: int) -> int:
    """The position of the newline that ends the value: not one within a string, an array or a table."""
    depth = 0
    while position < len(text):
        character = text[position]
        if character in "\"'":
            position = _end_of_string(text, position, character)
            continue
        if character == "#":
            newline = text.find("\n", position)
            position = len(text) if newline < 0 else newline
            continue
        if character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "\n" and depth <= 0:
            return position
        position += 1
    return len(text)


def _end_of_string(text: str, position: int, quote: str) -> int:
    closing = quote * 3 if text.startswith(quote * 3, position) else quote
    position += len(closing)
    while position < len(text):
        if text[position] == "\\" and quote == '"':
            position += 2
        elif text.startswith(closing, position):
            return position + len(closing)
        elif text[position] == "\n" and len(closing) == 1:
            return position
        else:
            position += 1
    return len(text)
