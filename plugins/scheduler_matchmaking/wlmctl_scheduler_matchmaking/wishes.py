"""What many open roles want, as columns: which places suit them, and where their data are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Numbers = np.ndarray[Any, np.dtype[np.int64]]

#: The most data that a role of all has on one machine, in steps of its worth.
STEPS = 1000


@dataclass(frozen=True, slots=True)
class Wishes:
    """Of each role its kind and its rank, which places suit each kind, and how many roles each place takes.

    Roles and places are numbers, those that should be served or taken first first. A role of ``whose`` has data on a
    place of ``at`` that suits it, which are ``worth`` 1 to ``STEPS`` + 1: in the order of roles, then of places.
    """

    kinds: Numbers
    ranks: Numbers
    suits: np.ndarray[Any, np.dtype[np.bool_]]
    takes: Numbers
    whose: Numbers
    at: Numbers
    worth: Numbers


def wishes(
    kinds: Sequence[int],
    ranks: Sequence[int],
    data_bytes: Sequence[Mapping[str, int]],
    machines: Sequence[Collection[str]],
    room: Mapping[str, int],
) -> Wishes:
    """The wishes of roles; of each, ``kinds`` tells which of ``machines`` suit it. The places are those of ``room``."""
    import numpy as np

    places = {name: number for number, name in enumerate(room)}
    on = defaultdict[str, int](lambda: len(room), places)  # one place more: for what is no place of any
    suits = np.zeros((len(machines), len(room) + 1), bool)
    for kind, names in enumerate(machines):
        suits[kind, [*map(on.__getitem__, names)]] = True
    suits[:, -1] = False
    counts, names_, sizes = list[int](), list[int](), list[int]()
    for data in data_bytes:  # each is looked at once: most of the time goes to memory
        counts.append(len(data))
        names_ += map(on.__getitem__, data)
        sizes += data.values()
    of_role = np.array(kinds, np.int64)
    whose, at, size = np.repeat(np.arange(len(kinds)), counts), np.array(names_, np.int64), np.array(sizes, np.int64)
    useful = np.flatnonzero(suits[of_role[whose], at] & (size > 0))
    useful = useful[np.argsort(whose[useful] * len(room) + at[useful])]  # whatever the order in which the data came
    whose, at, size = whose[useful], at[useful], size[useful]
    return Wishes(
        of_role,
        np.array(ranks, np.int64),
        suits[:, :-1],
        np.fromiter(room.values(), np.int64, len(room)),
        whose,
        at,
        1 + size * STEPS // max(1, size.max(initial=0)),
    )
