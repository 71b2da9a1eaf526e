"""Many first tasks start on machines that were found for all of them at once, as far as there are slots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wlmctl.scheduler import UnboundRole, UnboundRoles
from wlmctl_scheduler_matchmaking.counting import distinct, turns
from wlmctl_scheduler_matchmaking.matching import Matching
from wlmctl_scheduler_matchmaking.open_roles import OpenRoles, Served

if TYPE_CHECKING:
    from wlmctl_scheduler_matchmaking.counting import Bools, Numbers


def start(matching: Matching, open_: OpenRoles, served: Served, kinds: Sequence[int], where: Numbers) -> Bools:
    """Start each on its machine (-1: it has none) and bind its role; which of them have started."""
    import numpy as np

    demands = _demands(matching, open_, served, kinds, where)
    is_started = _sent(matching, served.rank, demands)
    names = np.array([*matching.machines.sites.names, None], object)
    going = [(row, at) for row, at in served.alone if is_started[at]]
    if going:
        rows, ats = [row for row, _ in going], [at for _, at in going]
        machines = names[where[ats]].tolist()
        matching.start_each([open_.groups[row] for row in rows], demands[ats].tolist(), machines)
        roles = [open_.roles[row] for row in rows]
        matching.roles.take([role for role in roles if isinstance(role, UnboundRole)], machines)
    for row, at, numbers in served.classes:
        has, alike, group = is_started[at], open_.roles[row], open_.groups[row]
        assert isinstance(alike, UnboundRoles)
        if has.any():
            machines, mine = names[where[at][has]].tolist(), numbers[has].tolist()
            matching.start_own(group, mine, demands[at][has].tolist(), machines)
            matching.roles.take_class(alike, mine, machines)
            matching.roles.started(group, mine)
    return is_started


def _demands(matching: Matching, open_: OpenRoles, served: Served, kinds: Sequence[int], where: Numbers) -> Numbers:
    """The demand class of each on its machine; -1 where it has none."""
    import numpy as np

    sites = matching.machines.sites
    of_site, reached = sites.reach
    first = {kind: row for row, kind in reversed([*enumerate(kinds)])}
    found = np.full(len(where), -1)
    has = np.flatnonzero(where >= 0)
    kind_of = np.array(kinds, np.int64)[served.row[has]]
    pairs, which = distinct(kind_of * len(reached) + of_site[where[has]], (max(kinds) + 1) * len(reached))
    classes = list[int]()
    for kind, reach in zip((pairs // len(reached)).tolist(), (pairs % len(reached)).tolist(), strict=True):
        group = open_.groups[first[kind]]
        classes.append(matching.demand(sites.able(group.type, group.worker_labels)[reach]))
    found[has] = np.array(classes, np.int64)[which]
    return found


def _sent(matching: Matching, rank: Numbers, demands: Numbers) -> Bools:
    """Which of them get a slot: of each rank as many as possible, before the next one."""
    import numpy as np

    is_sent = np.zeros(len(demands), bool)
    ends = np.searchsorted(rank, np.unique(rank), side="right").tolist()
    for begin, end in zip([0, *ends], ends, strict=False):
        has = begin + np.flatnonzero(demands[begin:end] >= 0)
        mine = demands[has]
        counts = np.bincount(mine)
        wanted = np.flatnonzero(counts)
        sent = np.zeros(len(counts), np.int64)
        sent[wanted] = matching.flow.send([*zip(wanted.tolist(), counts[wanted].tolist(), strict=True)])
        is_sent[has] = True if (sent == counts).all() else turns(mine) < sent[mine]
    return is_sent
