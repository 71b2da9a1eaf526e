"""How names and paths that came from outside are shown in one line."""

from __future__ import annotations

import re

_NOT_UTF8 = re.compile("[\ud800-\udfff]")


def shown(text: str) -> str:
    r"""``text`` for a message: bytes that are not UTF-8, and control characters, stand as ``\xNN``."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def utf8(text: str) -> str:
    r"""``text`` with each byte that is not UTF-8 as ``\xNN``, for what holds only UTF-8."""
    return text if text.isascii() else _NOT_UTF8.sub(lambda found: _escaped(found[0]), text)


def counted(number: int, noun: str) -> str:
    """``1 task``, ``3 tasks``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def in_bytes(size_bytes: int) -> str:
    """``1 byte``, ``30,000,000 bytes``."""
    return f"{size_bytes:,} byte{'s' * (size_bytes != 1)}"


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: one byte that was no UTF-8
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def in_quotes(text: str, most: int = 60) -> str:
    """``text`` for a message, shown in quotes and cut behind ``most`` characters."""
    short = shown(text[: most + 1])
    short, more = (short, "") if len(short) <= most else (short[: most - 3], "...")
    mark = '"' if "'" in short and '"' not in short else "'"
    return f"{mark}{short}{mark}{more}"
