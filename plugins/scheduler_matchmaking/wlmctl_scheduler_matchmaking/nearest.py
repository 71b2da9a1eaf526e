"""Many open roles to machines at once, by one minimum-cost flow: as many as possible, where their data are."""

from __future__ import annotations

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
    of_role = np.array(kinds, np.int64)
    whose = np.repeat(np.arange(len(kinds)), [len(data) for data in data_bytes])
    at = np.array([places.get(name, -1) for data in data_bytes for name in data], np.int64)
    size = np.array([size_bytes for data in data_bytes for size_bytes in data.values()], np.int64)
    useful = np.flatnonzero(suits[of_role[whose], at] & (size > 0))
    useful = useful[np.argsort(whose[useful] * len(room) + at[useful])]  # whatever the order in which the data came
    whose, at, size = whose[useful], at[useful], size[useful]
    counts, places_ = np.fromiter(room.values(), np.int64, len(room)), np.arange(len(room))
    roles, step = np.arange(len(kinds)), len(room) + len(kinds)
    first_role = len(room) + len(machines)
    sink = first_role + len(kinds)
    worth = step * (1 + size * _STEPS // max(1, size.max(initial=0)))
    # a rank counts more than all data together; as what can be bound together is a matroid, that makes it strict
    price = roles + step * (_STEPS + 2) * len(kinds) * np.array(ranks, np.int64)
    flows = least_cost(
        (
            (first_role + whose, at, 1, price[whose] - worth),
            (first_role + roles, len(room) + of_role, 1, price),
            (len(room) + of_kind, spot, counts[spot], 0),
            (places_, sink, counts, places_),
        ),
        {**dict.fromkeys(range(first_role, sink), 1), sink: -len(kinds)},
    )
    if flows is None:
        return None
    near, elsewhere, far, _ = flows
    found: list[str | None] = [None] * len(kinds)
    names = list(room)
    for role, place in zip(whose[near > 0].tolist(), at[near > 0].tolist(), strict=True):
        found[role] = names[place]
    taken = [list[str]() for _ in machines]
    for kind, place, tasks in zip(of_kind.tolist(), spot.tolist(), far.tolist(), strict=True):
        taken[kind] += [names[place]] * tasks
    others = [iter(each) for each in taken]
    for role in np.flatnonzero(elsewhere).tolist():
        found[role] = next(others[kinds[role]])
    return found
