"""Putting a wrong value of a task's text aside, so that what is wrong beside it can be found too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from wlmctl.experiment.values import mark

#: Stands for a value that is wrong: task types accept what is not known yet wherever text is, endpoints included.
NEUTRAL = f"local:{mark('wrong')}"

_INDEX = re.compile(r"\[(\d+)\]\.?", re.ASCII)


def neutral(mapping: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    """``mapping`` with ``NEUTRAL`` at the dotted ``key``, or at the innermost part of it that is there.

    Where that stands already, the entry is left out. None when no part of ``key`` is there.
    """
    names = [name for name in mapping if key == name or key.startswith((f"{name}.", f"{name}["))]
    if not names:
        return None
    name = max(names, key=len)
    value = _neutral(mapping[name], key[len(name) :].removeprefix("."))
    if value is None:
        return {other: item for other, item in mapping.items() if other != name}
    return {**mapping, name: value}


def _neutral(value: Any, rest: str) -> Any:
    """``value`` with what ``rest`` leads to put aside; None when it is to be left out."""
    if isinstance(value, Mapping) and rest:
        inner = neutral(value, rest)
        if inner is not None:
            return inner
    index = _INDEX.match(rest)
    if isinstance(value, list) and index is not None and int(index[1]) < len(value):
        position = int(index[1])
        item = _neutral(value[position], rest[index.end() :])
        return [*value[:position], *([] if item is None else [item]), *value[position + 1 :]]
    return None if value == NEUTRAL else NEUTRAL
