"""How many names fit into one command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_FILES = 1000
#: Linux takes 128 KiB in one word, and all of a command for a login shell is one.
_NAME_BYTES = 90_000
#: What quoting adds to a word, and at most to each byte of it that is not plain.
_QUOTES_BYTES, _UNSAFE_BYTES = 11, 24
_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+=:,@%"


def share(name: str) -> float:
    """The part of a command that the word ``name`` takes, at most."""
    data = name.encode("utf-8", "surrogateescape")
    return (len(data) + _QUOTES_BYTES + _UNSAFE_BYTES * len(data.translate(None, _SAFE))) / _NAME_BYTES


def batches(items: Iterable[T], share_of: Callable[[T], float]) -> Iterator[list[T]]:
    """``items`` in order, in lists of at most 1,000 and at most one command each."""
    batch: list[T] = []
    taken = 0.0
    for item in items:
        needed = share_of(item)
        if batch and (taken + needed > 1 or len(batch) >= _FILES):
            yield batch
            batch, taken = [], 0.0
        batch.append(item)
        taken += needed
    if batch:
        yield batch
