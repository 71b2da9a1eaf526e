"""How deep JSON is nested, found out before anything reads it: readers recurse."""

from __future__ import annotations

import re

#: The most brackets inside one another. A task's text, as deep as an experiment file may be, has half of it.
DEEPEST = 200

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def is_deep(body: bytes) -> bool:
    """True where more than ``DEEPEST`` brackets stand inside one another."""
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return False
    brackets = _STRING.sub(b"", body).translate(None, _NO_BRACKETS)
    for _ in range(DEEPEST):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return bool(brackets)
