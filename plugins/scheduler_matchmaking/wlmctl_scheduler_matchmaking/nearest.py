"""Many open roles to machines at once, by one minimum-cost flow: as many as possible, where their data are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wlmctl_scheduler_matchmaking.mincost import Arc, least_cost
from wlmctl_scheduler_matchmaking.rooms import Room

#: The most data that a role of all has on one machine, in steps of its price.
_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Open:
    """A role that wants a machine. ``machines`` is one and the same object for those that have the same choice."""

    machines: Mapping[str, Room]
    data_bytes: Mapping[str, int]


def nearest(roles: Sequence[Open], room: Mapping[str, int]) -> list[str | None]:
    """The machine of each role, None where there are too few.

    ``room`` tells how many roles each machine takes, those that should be taken first first. Of all ways to bind as
    many, the one with most data in place is taken; a step of data counts more than any order of machines or roles.
    """
    places = {name: number for number, name in enumerate(room)}
    kinds = {id(role.machines): role.machines for role in roles}
    first_kind = len(places)
    kind_of = {kind: first_kind + number for number, kind in enumerate(kinds)}
    first_role = first_kind + len(kinds)
    source, sink = first_role + len(roles), first_role + len(roles) + 1
    step = len(places) + len(roles)
    most = max((size_bytes for role in roles for size_bytes in role.data_bytes.values()), default=0)
    there = [
        (number, name, 1 + size_bytes * _STEPS // most)
        for number, role in enumerate(roles)
        for name, size_bytes in sorted(role.data_bytes.items())
        if size_bytes and name in room and name in role.machines
    ]
    spread = [(kind, name) for kind, machines in kinds.items() for name in room if name in machines]
    arcs: list[Arc] = [(first_role + number, places[name], 1, -step * worth) for number, name, worth in there]
    arcs += [(kind_of[kind], places[name], room[name], 0) for kind, name in spread]
    arcs += [(first_role + number, kind_of[id(role.machines)], 1, 0) for number, role in enumerate(roles)]
    arcs += [(source, first_role + number, 1, number) for number in range(len(roles))]
    arcs += [(places[name], sink, count, number) for number, (name, count) in enumerate(room.items())]
    found: list[str | None] = [None] * len(roles)
    flows = least_cost(arcs, source, sink, len(roles))
    if flows is None:
        return found
    for (number, name, _), is_there in zip(there, flows, strict=False):
        if is_there:
            found[number] = name
    taken = dict[int, list[str]]()
    for (kind, name), count in zip(spread, flows[len(there) :], strict=False):
        taken.setdefault(kind, []).extend([name] * count)
    others = {kind: iter(names) for kind, names in taken.items()}
    for number, (role, is_elsewhere) in enumerate(zip(roles, flows[len(there) + len(spread) :], strict=False)):
        if is_elsewhere:
            found[number] = next(others[id(role.machines)])
    return found
