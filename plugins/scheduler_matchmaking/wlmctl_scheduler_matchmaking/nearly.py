"""Very many open roles to places in two stages: as many as possible, with nearly as much data in place as possible.

First each role asks for its best place, as if data were all that counts. Then a flow tells how many of each kind go to
each class of places, which suit the same kinds: it knows how many would be near their data there. Within these numbers
the roles ask again, and the others are given what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wlmctl_scheduler_matchmaking.counting import distinct, order_of, turns
from wlmctl_scheduler_matchmaking.mincost import least_cost
from wlmctl_scheduler_matchmaking.wishes import STEPS, Wishes

if TYPE_CHECKING:
    from wlmctl_scheduler_matchmaking.counting import Numbers

#: Where all else is equal earlier roles go first, and to the first places: both in so many parts.
_PARTS = 100


@dataclass(frozen=True, slots=True)
class _Classes:
    """The class of each place, in which all suit the same kinds, and the lot of each role: of one kind and rank."""

    of_place: Numbers
    many: int
    of_role: Numbers
    kind_of_lot: Numbers
    rank_of_lot: Numbers


def nearly_nearest(asked: Wishes) -> Numbers | None:
    """The place of each role, -1 where there are too few; nothing where the search was given up."""
    import numpy as np

    classes, takes = _classes(asked), asked.takes.copy()
    asked = _best_first(asked)
    counts = _counts(asked, classes, _granted(asked, [(asked.at, takes.copy())]))
    if counts is None:
        return None
    quotas, going = counts
    cells = asked.kinds[asked.whose] * classes.many + classes.of_place[asked.at]
    lots = classes.of_role[asked.whose]
    found = _granted(asked, [(asked.at, takes), (cells, quotas.reshape(-1)), (lots, going)])
    # of room, quotas and lots there is left now what the others get
    others = np.flatnonzero(found < 0)
    others = others[turns(classes.of_role[others]) < going[classes.of_role[others]]]
    by_class = order_of(classes.of_place)
    spots = np.repeat(by_class, takes[by_class])
    of_spot = classes.of_place[spots]
    spots = spots[turns(of_spot) < quotas.sum(axis=0)[of_spot]]
    kinds = np.repeat(np.tile(np.arange(len(quotas)), classes.many), quotas.T.reshape(-1))
    # those of a kind, the first first, go to its places, the first first
    found[others[order_of(asked.kinds[others])]] = spots[np.lexsort((spots, kinds))]
    return found


def _classes(asked: Wishes) -> _Classes:
    import numpy as np

    kinds = len(asked.suits)
    packed = np.packbits(asked.suits, axis=0)
    width, columns = len(packed), packed.T.tobytes()
    known = dict[bytes, int]()
    of_place = np.array(
        [known.setdefault(columns[at : at + width], len(known)) for at in range(0, len(columns), width)], np.int64
    )
    lots, of_role = distinct(asked.ranks * kinds + asked.kinds, (asked.ranks.max(initial=0) + 1) * kinds)
    return _Classes(of_place, len(known), of_role, lots % kinds, lots // kinds)


def _best_first(asked: Wishes) -> Wishes:
    """The same, of each role the wish of most worth first; of equal ones that for the place which fewest ask for."""
    import numpy as np

    places = len(asked.takes)
    sought = np.argsort(np.bincount(asked.at, minlength=places) / np.maximum(1, asked.takes), kind="stable")
    first = np.empty(places, np.int64)
    first[sought] = np.arange(places)
    # they come by roles, more or less: the stable sort is quick where much is sorted
    order = np.argsort((asked.whose * (STEPS + 2) - asked.worth) * places + first[asked.at], kind="stable")
    return Wishes(
        asked.kinds, asked.ranks, asked.suits, asked.takes, asked.whose[order], asked.at[order], asked.worth[order]
    )


def _granted(asked: Wishes, limits: Sequence[tuple[Numbers, Numbers]]) -> Numbers:
    """The place of each role that one of its wishes is granted, -1 of the others; what is granted is taken from limits.

    A limit is a group of each wish and how many of each group may be granted. In rounds each role asks for the first
    of its wishes that no limit forbids. Of too many those of most worth win, then those that came first. Who was
    refused asks again: a round in which anybody is has closed a group.
    """
    import numpy as np

    found = np.full(len(asked.kinds), -1)
    lefts = [left for _, left in limits]
    columns = [asked.whose, asked.at, STEPS + 1 - asked.worth, *(groups for groups, _ in limits)]
    while True:
        is_open = found[columns[0]] < 0
        for groups, left in zip(columns[3:], lefts, strict=True):
            is_open &= left[groups] > 0
        columns = [column[is_open] for column in columns]
        whose, at, lack, *of_wish = columns
        if not len(whose):
            return found
        first = np.flatnonzero(np.diff(whose, prepend=-1))
        kept = first[order_of(lack[first])]
        for groups, left in zip(of_wish, lefts, strict=True):
            mine = groups[kept]
            kept = kept[turns(mine) < left[mine]]
        found[whose[kept]] = at[kept]
        for groups, left in zip(of_wish, lefts, strict=True):
            left -= np.bincount(groups[kept], minlength=len(left))


def _counts(asked: Wishes, classes: _Classes, wished: Numbers) -> tuple[Numbers, Numbers] | None:
    """How many of each kind go to each class of places, and how many of each lot go; ``wished`` is where they would."""
    import numpy as np

    roles, places, many = len(asked.kinds), len(asked.takes), classes.many
    step, lots, kinds = 2 * _PARTS, len(classes.kind_of_lot), len(asked.suits)
    is_granted = wished[asked.whose] == asked.at
    whose, there = asked.whose[is_granted], classes.of_place[asked.at[is_granted]]
    cells, cell = distinct(classes.of_role[whose] * many + there, lots * many)
    near = np.bincount(cell, minlength=len(cells))
    worth = np.bincount(cell, asked.worth[is_granted], len(cells)).astype(np.int64) // near
    portions, portion = distinct(classes.of_role * _PARTS + np.arange(roles) * _PARTS // roles, lots * _PARTS)
    sizes = np.bincount(portion, minlength=len(portions))
    stocks, stock = distinct(classes.of_place * _PARTS + np.arange(places) * _PARTS // places, many * _PARTS)
    room = np.bincount(stock, asked.takes, len(stocks)).astype(np.int64)
    of_class = np.zeros((kinds, many), bool)
    of_class[:, classes.of_place] = asked.suits
    able, at = np.nonzero(of_class)
    all_of = np.bincount(classes.of_place, asked.takes, many).astype(np.int64)
    # the nodes: portions of the order of submission, lots, kinds, classes of places, and the sink
    lot = len(portions)
    kind, class_ = lot + lots, lot + lots + kinds
    sink = class_ + many
    # a rank counts more than all data together; as what can be bound together is a matroid, that makes it strict
    price = portions % _PARTS + step * (STEPS + 2) * roles * classes.rank_of_lot[portions // _PARTS]
    flows = least_cost(
        (
            (np.arange(lot), lot + portions // _PARTS, sizes, price),
            (lot + cells // many, class_ + cells % many, near, -step * worth),
            (lot + np.arange(lots), kind + classes.kind_of_lot, np.bincount(classes.of_role), 0),
            (kind + able, class_ + at, all_of[at], 0),
            (class_ + stocks // _PARTS, sink, room, stocks % _PARTS),
        ),
        {**dict(enumerate(sizes.tolist())), sink: -roles},
    )
    if flows is None:
        return None
    quotas = np.zeros((kinds, many), np.int64)
    quotas[able, at] = flows[3]
    np.add.at(quotas, (classes.kind_of_lot[cells // many], cells % many), flows[1])
    return quotas, np.bincount(portions // _PARTS, flows[0], lots).astype(np.int64)
