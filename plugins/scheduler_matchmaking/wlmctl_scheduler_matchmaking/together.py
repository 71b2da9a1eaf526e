"""Open roles that nothing but the choice of a machine keeps from starting: many of them are bound at once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from wlmctl.scheduler import Group, Reason, UnboundRole, UnboundRoles
from wlmctl_scheduler_matchmaking.machines import all_needs
from wlmctl_scheduler_matchmaking.matching import Matching
from wlmctl_scheduler_matchmaking.nearest import nearest
from wlmctl_scheduler_matchmaking.open_roles import OpenRoles, Served
from wlmctl_scheduler_matchmaking.order import STARVING, Bands, Shares
from wlmctl_scheduler_matchmaking.reasons import crowded, no_room
from wlmctl_scheduler_matchmaking.starting import start
from wlmctl_scheduler_matchmaking.wishes import wishes

if TYPE_CHECKING:
    from wlmctl_scheduler_matchmaking.counting import Bools

#: So many roles are bound together at most: that takes 1 s, one after the other they take far longer.
_TOGETHER = 150_000

#: Of a group whose tasks share their roles, the next one.
_ONE = range(1)


def bind_together(matching: Matching, bands: Bands, shares: Shares | None, *, is_last: bool) -> bool:
    """Bind as many open roles as possible for every prefix of bands, where most of their data are; whether there is no
    better way to place all that the bands have, so that nothing is left to place.

    They are those whose first tasks ask for the same, that which most of the bands ask for; of an experiment no more
    than may start. Of several bands nothing is bound unless that is all that they have: for then, and only then, a
    lower one takes no room from a higher. ``is_last``: there are no other bands.
    """
    alike = defaultdict[tuple[int, int, int], OpenRoles](OpenRoles)
    capped = Counter[str]()
    for level, groups in bands:
        if level >= STARVING:
            continue
        for group, role in zip(groups, matching.roles.alone(groups), strict=True):
            if role is None:
                continue
            waiting = matching.roles.waiting(group) if group.own_roles else _ONE
            if group.may_start is not None:
                waiting = waiting[: max(0, matching.caps.left(group.experiment) - capped[group.experiment])]
                capped[group.experiment] += len(waiting)
                if not waiting:
                    continue
            asked = group.resources
            alike[asked.cpus, asked.memory_bytes, asked.gpus].add(group, role, level, waiting)
    most = max(alike.values(), key=lambda each: each.many, default=OpenRoles()).first(_TOGETHER)
    is_all = most.many == sum([len(group.tasks) if group.own_roles else 1 for _, groups in bands for group in groups])
    if not most.groups or (len(bands) > 1 and not is_all):
        return False
    return _bind(matching, most, shares, is_all=is_all and is_last)


def _bind(matching: Matching, open_: OpenRoles, shares: Shares | None, *, is_all: bool) -> bool:
    """Bind these roles and start each group's first task; whether that is all, and no other way starts more of them."""
    import numpy as np

    sites = matching.machines.sites
    kinds, firsts = _kinds(open_)
    suits = np.array([_suiting(matching, open_, row) for row in firsts], bool)
    asked = replace(open_.groups[0].resources, walltime_s=None)
    takes, is_kept = sites.room(asked, open_.many)
    places = sites.best_first(np.flatnonzero(suits.any(axis=0) & ~is_kept & (takes > 0)), asked)
    served = Served(open_, open_.portions(shares, int(takes[places].sum())))
    at = np.full(len(sites.names) + 1, -1)  # one more: for what is no machine that is known
    at[places] = np.arange(len(places))
    whose, there, size_bytes = served.data(sites.number)
    kind = np.array(kinds, np.int64)[served.row]
    found = nearest(wishes(kind, served.rank, suits[:, places], takes[places], (whose, at[there], size_bytes)))
    if found is None:
        return False
    where = np.where(found >= 0, places[found], -1) if len(places) else np.full(len(found), -1)
    is_started = start(matching, open_, served, kinds, where)
    if not (suits & is_kept).any() and is_started[where >= 0].all():
        _tell(matching, open_, np.unique(served.row[where < 0]).tolist(), kinds, suits)
        if is_all and all(group.own_roles or len(group.tasks) == 1 for group in open_.groups):
            return True
    numbers, tasks = np.unique(where[is_started], return_counts=True)
    for number, count in zip(numbers.tolist(), tasks.tolist(), strict=True):
        matching.machines.rooms[sites.names[number]].take(asked, count, matching.now_s)
    return False


def _suiting(matching: Matching, open_: OpenRoles, row: int) -> Bools:
    role = open_.roles[row]
    return matching.machines.sites.suiting(role.requires, all_needs(role, [open_.groups[row]]), role.barred)


def _kinds(open_: OpenRoles) -> tuple[Sequence[int], Sequence[int]]:
    """The kind of each group's role, and of each kind the first: the same machines suit all of one kind."""
    numbers, seen, firsts = dict[object, int](), dict[object, int](), list[int]()
    last, kind, kinds = None, 0, list[int]()
    for number, (group, role) in enumerate(zip(open_.groups, open_.roles, strict=True)):
        # what is equal is mostly one object, and a hash of such objects is dear
        objects = id(role.requires), id(role.needs), id(role.barred), group.type, group.worker_labels
        if objects != last:
            last = objects
            if objects not in seen:
                key = role.requires, role.needs, role.barred, group.type, group.worker_labels
                seen[objects] = numbers.setdefault(key, len(firsts))
                if seen[objects] == len(firsts):
                    firsts.append(number)
            kind = seen[objects]
        kinds.append(kind)
    return kinds, firsts


def _tell(matching: Matching, open_: OpenRoles, rows: Sequence[int], kinds: Sequence[int], suits: Bools) -> None:
    """Tell why roles of these groups have found no machine: nothing that is decided later gives them one."""
    reasons = dict[int, Reason]()
    for row in rows:
        kind = kinds[row]
        if kind not in reasons:
            reasons[kind] = _unplaced(matching, open_.groups[row], open_.roles[row], suits[kind].nonzero()[0].tolist())
        matching.settle(open_.groups[row], reasons[kind])


def _unplaced(matching: Matching, group: Group, role: UnboundRole | UnboundRoles, fitting: Sequence[int]) -> Reason:
    machines = matching.machines
    if not fitting:
        return Reason("role", machines.role_needs(group.unbound or "", role, [group]))
    if len(fitting) > 1:
        return crowded(group, len(fitting))
    return no_room(group, [machines.rooms[machines.sites.names[fitting[0]]]])
