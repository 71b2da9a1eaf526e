"""Many open roles to machines at once, by one minimum-cost flow: as many as possible, where their data are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from wlmctl_scheduler_matchmaking.mincost import least_cost

#: The most data that a role of all has on one machine, in steps of its price.
_STEPS = 1000


def nearest(
    kinds: Sequence[int],
    ranks: Sequence[int],
    data_bytes: Sequence[Mapping[str, int]],
    machines: Sequence[Collection[str]],
    room: Mapping[str, int],
) -> list[str | None] | None:
    """The machine of each role, None where there are too few; nothing where the search was given up.

    Of each role, ``kinds`` tells which of ``machines`` suit it; those of a lower rank go before all of a higher one.
    ``room`` tells how many roles each machine takes, those that should be taken first first. For every prefix of ranks
    as many are bound as possible; of all ways to do that, the one with most data in place is taken; a step of data
    counts more than any order of machines or roles.
    """
    import numpy as np

    places = {name: number for number, name in enumerate(room)}
    suiting = [sorted([places[name] for name in each if name in places]) for each in machines]
    spot = np.array([place for each in suiting for place in each], np.int64)
    of_kind = np.repeat(np.arange(len(suiting)), [len(each) for each in suiting])
    suits = np.zeros((len(suiting), len(room) + 1), bool)  # one place more: for what is no place of any
    suits[of_kind, spot] = True
    of_role, roles = np.array(kinds, np.int64), np.arange(len(kinds))
    on = defaultdict[str, int](lambda: len(room), places)
    counts, names, sizes = list[int](), list[int](), list[int]()
    for data in data_bytes:  # each is looked at once: most of the time goes to memory
        counts.append(len(data))
        names += map(on.__getitem__, data)
        sizes += data.values()
    whose, at, size = np.repeat(roles, counts), np.array(names, np.int64), np.array(sizes, np.int64)
    useful = np.flatnonzero(suits[of_role[whose], at] & (size > 0))
    useful = useful[np.argsort(whose[useful] * len(room) + at[useful])]  # whatever the order in which the data came
    whose, at, size = whose[useful], at[useful], size[useful]
    takes, places_ = np.fromiter(room.values(), np.int64, len(room)), np.arange(len(room))
    step = len(room) + len(kinds)
    first_role = len(room) + len(machines)
    sink = first_role + len(kinds)
    worth = step * (1 + size * _STEPS // max(1, size.max(initial=0)))
    # a rank counts more than all data together; as what can be bound together is a matroid, that makes it strict
    price = roles + step * (_STEPS + 2) * len(kinds) * np.array(ranks, np.int64)
    flows = least_cost(
        (
            (first_role + whose, at, 1, price[whose] - worth),
            (first_role + roles, len(room) + of_role, 1, price),
            (len(room) + of_kind, spot, takes[spot], 0),
            (places_, sink, takes, places_),
        ),
        {**dict.fromkeys(range(first_role, sink), 1), sink: -len(kinds)},
    )
    if flows is None:
        return None
    near, elsewhere, far, _ = flows
    found = np.full(len(kinds), len(room))
    found[whose[near > 0]] = at[near > 0]
    others = np.flatnonzero(elsewhere)
    # those of a kind, the first first, go to its places, the first first
    found[others[np.argsort(of_role[others], kind="stable")]] = np.repeat(spot, far)
    named: list[str | None] = np.array([*room, None], object)[found].tolist()
    return named
