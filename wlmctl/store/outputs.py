"""The column of a task's outputs: one JSON object, in which what is no text stands in the characters of its job."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

#: What is nested deeper is kept as a text.
DEEPEST = 50


def to_column(outputs: Mapping[str, str], typed: Collection[str] = ()) -> str | None:
    """The column; ``typed`` names the outputs that are JSON themselves. None where there are no outputs."""
    if not outputs:
        return None
    if not typed:
        return json.dumps(dict(outputs))
    parts = (f"{json.dumps(key)}: {_value(text, key in typed)}" for key, text in outputs.items())
    return "{" + ", ".join(parts) + "}"


def _value(text: str, is_json: bool) -> str:
    return text if is_json and _is_json(text) else json.dumps(text)


def _is_json(text: str) -> bool:
    """True for JSON that every database reads: a plugin may call so what is none."""
    try:
        text.encode()
        level = [json.loads(text, parse_constant=_refuse)]
    except (ValueError, RecursionError):
        return False
    for _ in range(DEEPEST):
        inner = [each for value in level if isinstance(value, dict | list) for each in _inside(value)]
        if not inner:
            return True
        level = inner
    return False


def _inside(value: dict[str, Any] | list[Any]) -> Collection[Any]:
    return value.values() if isinstance(value, dict) else value


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def of_column(column: str | None) -> dict[str, str]:
    """The characters of each output, as they are put into texts."""
    outputs: dict[str, str] = {}
    decoder, at = json.JSONDecoder(), 1
    while column and column[at] != "}":
        key, end = decoder.raw_decode(column, at)
        begin = _next(column, end)
        value, end = decoder.raw_decode(column, begin)
        outputs[key] = value if isinstance(value, str) else column[begin:end]
        at = _next(column, end)
    return outputs


def _next(column: str, at: int) -> int:
    """Where the next key or value begins, or the object ends."""
    while column[at] in " :,\t\r\n":  # around what is JSON itself there may be any of JSON's spaces
        at += 1
    return at
