"""Sorting and counting of many small numbers, which is what most of the time goes to where there are 100,000 roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Numbers = np.ndarray[Any, np.dtype[np.int64]]
    Bools = np.ndarray[Any, np.dtype[np.bool_]]


def order_of(numbers: Numbers) -> Numbers:
    """The order in which they are sorted, equal ones as they came; none is negative."""
    import numpy as np

    # numpy sorts 16 bits by counting, a tenth of the time
    short = numbers.astype(np.uint16) if numbers.max(initial=0) < 1 << 16 else numbers
    return np.argsort(short, kind="stable")


def turns(groups: Numbers) -> Numbers:
    """How many of its group are before each."""
    import numpy as np

    order, counts = order_of(groups), np.bincount(groups)
    found = np.empty(len(groups), np.int64)
    found[order] = np.arange(len(groups)) - np.repeat(np.cumsum(counts) - counts, counts)
    return found


def distinct(numbers: Numbers, many: int) -> tuple[Numbers, Numbers]:
    """Which there are of the numbers below ``many``, sorted, and which of these each is."""
    import numpy as np

    if many > 4 * len(numbers) + (1 << 16):
        return np.unique(numbers, return_inverse=True)
    is_there = np.zeros(many, bool)
    is_there[numbers] = True
    found = np.flatnonzero(is_there)
    place = np.empty(many, np.int64)
    place[found] = np.arange(len(found))
    return found, place[numbers]
