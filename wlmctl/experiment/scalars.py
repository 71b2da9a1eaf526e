"""What an unquoted scalar means: YAML 1.2's core schema, so that ``yes`` is a text and ``010`` is ten."""

from __future__ import annotations

import math
import re

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NUMBER_START = frozenset("+-.0123456789")
_INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
_OCTAL = re.compile(r"0o[0-7]+", re.ASCII)
_HEX = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII)


def is_null(text: str) -> bool:
    """True when the unquoted ``text`` means null."""
    return text in _NULL


def core_value(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar; ``ValueError`` for a number that 64 bits cannot hold."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in _NUMBER_START:
        return text
    if _INT.fullmatch(text):
        return _bounded(text, 10)
    if _OCTAL.fullmatch(text):
        return _bounded(text[2:], 8)
    if _HEX.fullmatch(text):
        return _bounded(text[2:], 16)
    if _SPECIAL.fullmatch(text):
        raise ValueError("a finite number, or quotes around it")
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isinf(value):
            raise ValueError("a number of at most 64 bits, or quotes around it")
        return value
    return text


def _bounded(digits: str, base: int) -> int:
    value = int(digits, base) if len(digits) <= 64 else 2**64
    if not -(2**63) <= value < 2**63:
        raise ValueError("a number of at most 64 bits, or quotes around it")
    return value
