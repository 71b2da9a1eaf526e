"""Values of outputs and their types: the characters that a job wrote, and whether they are JSON or a text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,4000}")
#: Also with the exponent of Fortran, 1.5D-03.
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eEdD][+-]?[0-9]+)?")


class Value(NamedTuple):
    """A value as its characters; ``is_json`` False: they are a text."""

    text: str
    is_json: bool = False


class WrongType(Exception):
    """A value that is not of the type it must be; the text says what was expected."""


class Number(str):
    """A number of a JSON text, as its characters: 0.10 is not 0.1."""

    __slots__ = ()


class NotANumber(str):
    """``NaN``, ``Infinity`` or ``-Infinity``, which Python and others write as if they were JSON."""

    __slots__ = ()


def loads(text: str) -> Any:
    """A JSON document whose numbers are their characters; ``ValueError`` or ``RecursionError`` for what is none."""
    return json.loads(text, parse_float=Number, parse_int=Number, parse_constant=NotANumber)


def of_json(value: Any) -> Value:
    """The value of a document that ``loads`` made."""
    if isinstance(value, Number):
        return Value(str(value), True)
    if isinstance(value, str):
        return Value(str(value))
    return Value(_plain(value), is_json=not _holds_no_json(value))


def _plain(value: Any) -> str:
    match value:
        case Number() | NotANumber():
            return str(value)
        case dict():
            return "{" + ",".join(f"{json.dumps(key)}:{_plain(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ",".join(map(_plain, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _holds_no_json(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_holds_no_json, value.values() if isinstance(value, dict) else value))
    return isinstance(value, NotANumber)


def _int(text: str) -> Value:
    if not _INTEGER.fullmatch(text):
        raise WrongType("a whole number")
    return Value(text if _JSON_NUMBER.fullmatch(text) else str(int(text)), True)


def _float(text: str) -> Value:
    number = math.nan
    if _FLOAT.fullmatch(text):
        number = float(text.replace("d", "e").replace("D", "e"))
    if not math.isfinite(number):
        raise WrongType("a finite number")
    return Value(text if _JSON_NUMBER.fullmatch(text) else repr(number), True)


def _bool(text: str) -> Value:
    if text.lower() not in ("true", "false"):
        raise WrongType("true or false")
    return Value(text.lower(), True)


#: What may stand under ``as``, and what becomes of a value's characters.
TYPES: Mapping[str, Callable[[str], Value]] = {"string": Value, "int": _int, "float": _float, "bool": _bool}
