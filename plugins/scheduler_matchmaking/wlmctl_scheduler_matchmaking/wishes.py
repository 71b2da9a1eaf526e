"""What many open roles want, as columns: which places suit them, and where their data are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wlmctl_scheduler_matchmaking.counting import Bools, Numbers

#: The most data that a role of all has on one machine, in steps of its worth.
STEPS = 1000


@dataclass(frozen=True, slots=True)
class Wishes:
    """Of each role its kind and its rank, which places suit each kind, and how many roles each place takes.

    Roles and places are numbers, those that should be served or taken first first. A role of ``whose`` has data on a
    place of ``at`` that suits it, which are ``worth`` 1 to ``STEPS`` + 1.
    """

    kinds: Numbers
    ranks: Numbers
    suits: Bools
    takes: Numbers
    whose: Numbers
    at: Numbers
    worth: Numbers


def wishes(
    kinds: Numbers, ranks: Numbers, suits: Bools, takes: Numbers, data: tuple[Numbers, Numbers, Numbers]
) -> Wishes:
    """The wishes of roles; ``data`` are in any order whose they are, the place, -1 for none, and how many bytes."""
    import numpy as np

    whose, at, size = data
    # a place more, for what is no place of any
    is_useful = np.concatenate((suits, np.zeros((len(suits), 1), bool)), axis=1)[kinds[whose], at]
    useful = np.flatnonzero(is_useful & (size > 0))
    whose, at, size = whose[useful], at[useful], size[useful]
    # so that the product stays within 64 bits
    shift = max(0, int(size.max(initial=0)).bit_length() - 50)
    size = size >> shift
    return Wishes(kinds, ranks, suits, takes, whose, at, 1 + size * STEPS // max(1, int(size.max(initial=0))))
