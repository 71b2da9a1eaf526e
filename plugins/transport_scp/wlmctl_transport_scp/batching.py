"""How many names fit into one command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TypeVar

from wlmctl.ssh.quoting import for_login_shell, quote

T = TypeVar("T")

_FILES = 256
#: Linux takes 128 KiB in one word, and all of a command for a login shell is one.
_NAME_BYTES = 90_000


@lru_cache(maxsize=256)
def share(name: str) -> float:
    """The part of a command that the word ``name`` takes."""
    return len(for_login_shell(quote(name))) / _NAME_BYTES


def batches(items: Iterable[T], share_of: Callable[[T], float]) -> Iterator[list[T]]:
    """``items`` in order, in lists of at most 256 and at most one command each."""
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
