"""Many open roles to machines at once: as many as possible, where their data are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wlmctl_scheduler_matchmaking.counting import order_of
from wlmctl_scheduler_matchmaking.mincost import least_cost
from wlmctl_scheduler_matchmaking.nearly import nearly_nearest
from wlmctl_scheduler_matchmaking.wishes import STEPS, Wishes

if TYPE_CHECKING:
    from wlmctl_scheduler_matchmaking.counting import Numbers

#: One flow of so many roles and wishes (of 3,000 roles or so) takes 10 to 30 ms, and of more ever longer for each.
_EXACTLY = 10_000


def nearest(asked: Wishes) -> Numbers | None:
    """The place of each role, -1 where there are too few; nothing where the search was given up.

    For every prefix of ranks as many are bound as possible; of all ways to do that, the one with most data in place is
    taken, or of very many roles one that has nearly as much.
    """
    is_small = len(asked.kinds) + len(asked.whose) <= _EXACTLY
    return by_one_flow(asked) if is_small else nearly_nearest(asked)


def by_one_flow(asked: Wishes) -> Numbers | None:
    """The place of each role, -1 where there are too few, by one minimum-cost flow with an arc for each wish.

    A step of data counts more than any order of places or roles.
    """
    import numpy as np

    suits = asked.suits
    order = np.lexsort((asked.at, asked.whose))  # whatever the order in which they came
    whose, at, worth = asked.whose[order], asked.at[order], asked.worth[order]
    of_kind, spot = np.nonzero(suits)
    many, places = len(asked.kinds), np.arange(len(asked.takes))
    roles, step = np.arange(many), len(places) + many
    first_role = len(places) + len(suits)
    sink = first_role + many
    # a rank counts more than all data together; as what can be bound together is a matroid, that makes it strict
    price = roles + step * (STEPS + 2) * many * asked.ranks
    flows = least_cost(
        (
            (first_role + whose, at, 1, price[whose] - step * worth),
            (first_role + roles, len(places) + asked.kinds, 1, price),
            (len(places) + of_kind, spot, asked.takes[spot], 0),
            (places, sink, asked.takes, places),
        ),
        {**dict.fromkeys(range(first_role, sink), 1), sink: -many},
    )
    if flows is None:
        return None
    near, elsewhere, far, _ = flows
    found = np.full(many, -1)
    found[whose[near > 0]] = at[near > 0]
    others = np.flatnonzero(elsewhere)
    # those of a kind, the first first, go to its places, the first first
    found[others[order_of(asked.kinds[others])]] = np.repeat(spot, far)
    return found
