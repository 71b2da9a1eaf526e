"""Open roles that nothing but the choice of a machine keeps from starting: many of them are bound at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

from wlmctl.scheduler import Group, Reason, UnboundRole
from wlmctl_scheduler_matchmaking.matching import Matching
from wlmctl_scheduler_matchmaking.nearest import nearest
from wlmctl_scheduler_matchmaking.order import STARVING, Bands, Shares
from wlmctl_scheduler_matchmaking.reasons import no_room
from wlmctl_scheduler_matchmaking.rooms import Room
from wlmctl_scheduler_matchmaking.slots import rounds

#: So many roles are bound together at most: one flow of them takes 0.1 s.
_TOGETHER = 20_000


def bind_together(matching: Matching, bands: Bands, shares: Shares | None) -> bool:
    """Bind as many open roles as possible for every prefix of bands, where most of their data are; whether there is no
    better way to place all that the bands have.

    They are those whose first tasks ask for the same, that which most of the bands ask for; of an experiment no more
    than may start. Of several bands nothing is bound unless that is all that they have: for then, and only then, a
    lower one takes no room from a higher.
    """
    alike = dict[tuple[int, int, int], dict[str, UnboundRole]]()
    capped = Counter[str]()
    for level, groups in bands:
        for group in groups if level < STARVING else ():
            role = matching.roles.alone(group)
            if role is not None and group.may_start is not None:
                capped[group.experiment] += 1
                role = role if capped[group.experiment] <= matching.caps.left(group.experiment) else None
            if role is not None:
                asked = group.resources
                alike.setdefault((asked.cpus, asked.memory_bytes, asked.gpus), {})[group.id] = role
    roles = dict(islice(max(alike.values(), key=len, default={}).items(), _TOGETHER))
    is_all = len(roles) == sum([len(groups) for _, groups in bands])
    if not roles or (len(bands) > 1 and not is_all):
        return False
    of_bands = [(level, [group for group in groups if group.id in roles]) for level, groups in bands]
    return _bind(matching, of_bands, shares, roles) and is_all


def _bind(matching: Matching, bands: Bands, shares: Shares | None, roles: Mapping[str, UnboundRole]) -> bool:
    """Bind these, by group, and start each group's first task; whether no other way starts more of their tasks."""
    numbers, machines, kinds = dict[object, int](), list[Mapping[str, Room]](), dict[str, int]()
    seen = dict[object, int]()
    for group in (group for _, groups in bands for group in groups):
        role = roles[group.id]
        # what is equal is mostly one object, and a hash of such objects is dear
        objects = id(role.requires), id(role.needs), id(role.barred), group.type, group.worker_labels
        kind = seen.get(objects)
        if kind is None:
            key = role.requires, role.needs, role.barred, group.type, group.worker_labels
            kind = seen[objects] = numbers.setdefault(key, len(machines))
            if kind == len(machines):
                machines.append(matching.machines.for_role(role, [group]))
            asked = replace(group.resources, walltime_s=None)
        kinds[group.id] = kind
    rooms = {name: room for each in machines for name, room in each.items()}
    is_kept = any(room.kept is not None for room in rooms.values())
    open_ = matching.machines.ranked([room for room in rooms.values() if room.kept is None], asked)
    room = {each.view.name: each.most(asked, len(roles), matching.now_s) for each in open_}
    parts = _parts(bands, shares, sum(room.values()))
    order = [group for part in parts for group in part]
    ranks = [rank for rank, part in enumerate(parts) for _ in part]
    found = nearest(
        [kinds[group.id] for group in order], ranks, [roles[group.id].data_bytes for group in order], machines, room
    )
    if found is None:
        return False
    names = iter(found)
    taken = [name for part in parts for name in _start(matching, part, list(islice(names, len(part))), roles)]
    for name, tasks in Counter(taken).items():
        rooms[name].take(asked, tasks, matching.now_s)
    if is_kept or len(taken) < len(found) - found.count(None):
        return False
    reasons = dict[int, Reason]()
    for group, kind in [(group, kinds[group.id]) for group, name in zip(order, found, strict=True) if name is None]:
        if machines[kind]:
            reasons[kind] = reasons.get(kind) or no_room(group, [*machines[kind].values()])
            matching.settle(group, reasons[kind])
    return all(len(group.tasks) == 1 for group in order)


def _parts(bands: Bands, shares: Shares | None, places: int) -> list[list[Group]]:
    """The groups in the order in which they are served, each once; those of a part go before all of the next."""
    known, found = set[str](), list[list[Group]]()
    for part in (part for level, groups in bands for part in rounds(level, groups, shares, places)):
        found.append([group for group, _ in part if group.id not in known])
        known.update([group.id for group in found[-1]])
    return found


def _start(
    matching: Matching, groups: Sequence[Group], names: Sequence[str | None], roles: Mapping[str, UnboundRole]
) -> list[str]:
    """Start each group's first task on its machine, if it has one, and as far as there are slots; the machines."""
    demands = [
        None if name is None else matching.demand(matching.fleet.able(group.type, group.worker_labels, (name,)))
        for group, name in zip(groups, names, strict=True)
    ]
    wanted = [(demand, tasks) for demand, tasks in Counter(demands).items() if demand is not None]
    slots = {demand: sent for (demand, _), sent in zip(wanted, matching.flow.send(wanted), strict=True)}
    taken = list[str]()
    for group, name, demand in zip(groups, names, demands, strict=True):
        if demand is not None and name is not None and slots[demand]:
            slots[demand] -= 1
            matching.start(group, 1, demand, name)
            matching.roles.take(roles[group.id], name)
            taken.append(name)
    return taken
