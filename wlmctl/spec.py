"""Reading a task's own keys: what ``TaskType.parse`` is made of. Each function raises ``SpecError`` for its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from wlmctl.errors import SpecError
from wlmctl.text import in_quotes

#: What a run-time value stands as until it is known: text between these two characters.
PLACEHOLDER_BEGIN, PLACEHOLDER_END = "\ue000", "\ue001"

Choice = TypeVar("Choice", bound=StrEnum)


def has_placeholder(text: str) -> bool:
    """True for a text with a run-time value that is not known yet."""
    return PLACEHOLDER_BEGIN in text


def check_keys(mapping: Mapping[str, Any], known: Sequence[str], inside: str = "") -> None:
    """Every key of ``mapping`` is one of ``known``; ``inside`` is the key that holds the mapping."""
    for key in mapping:
        if key not in known:
            import difflib

            near = difflib.get_close_matches(str(key), known, n=1)
            raise SpecError(
                f"{inside}.{key}" if inside else str(key),
                "unknown key",
                f"one of {', '.join(known)}",
                f"did you mean {near[0]!r}?" if near else "",
            )


def found(value: Any) -> str:
    """What a value is, for a message: ``a list``, ``'abc'``."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return in_quotes(str(value))


def text_of(mapping: Mapping[str, Any], key: str, expected: str, default: str | None = None, inside: str = "") -> str:
    """The text under ``key``; required unless there is a default."""
    name = f"{inside}.{key}" if inside else key
    if key not in mapping:
        if default is None:
            raise SpecError(name, "is missing", expected)
        return default
    return checked_text(mapping[key], name, expected)


def checked_text(value: Any, name: str, expected: str) -> str:
    """``value`` when it is a text without NUL."""
    if not isinstance(value, str):
        raise SpecError(name, f"found {found(value)}", expected)
    if "\0" in value:
        raise SpecError(name, "holds a NUL character", expected)
    return value


def texts_of(mapping: Mapping[str, Any], key: str, expected: str, *, or_one: bool = False) -> tuple[str, ...]:
    """The list of texts under ``key``, empty without it; with ``or_one`` a single text counts as a list of one."""
    value = mapping.get(key, [])
    if or_one and isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        raise SpecError(key, f"found {found(value)}", expected)
    return tuple(checked_text(each, f"{key}[{position}]", expected) for position, each in enumerate(value))


def choice_of(mapping: Mapping[str, Any], key: str, choices: type[Choice], default: Choice) -> Choice:
    """One of a few words; a run-time value counts as the default until it is known."""
    expected = ", ".join(choices)
    text = text_of(mapping, key, f"one of {expected}", default)
    if has_placeholder(text):
        return default
    try:
        return choices(text)
    except ValueError:
        raise SpecError(key, f"found {found(text)}", f"one of {expected}") from None
