"""Open roles that nothing but the choice of a machine keeps from starting: many of them are bound at once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import compress

from wlmctl.scheduler import Group, Reason, UnboundRole
from wlmctl_scheduler_matchmaking.matching import Matching
from wlmctl_scheduler_matchmaking.nearest import nearest
from wlmctl_scheduler_matchmaking.order import STARVING, Bands, Shares
from wlmctl_scheduler_matchmaking.reasons import no_room
from wlmctl_scheduler_matchmaking.rooms import Room
from wlmctl_scheduler_matchmaking.slots import rounds

#: So many roles are bound together at most: that takes 1 s, one after the other they take far longer.
_TOGETHER = 150_000

#: Groups, each with the open role that it waits for, and its kind: the same machines suit all of one kind.
_Open = tuple[Group, UnboundRole, int]


def bind_together(matching: Matching, bands: Bands, shares: Shares | None) -> bool:
    """Bind as many open roles as possible for every prefix of bands, where most of their data are; whether there is no
    better way to place all that the bands have, so that nothing is left to place.

    They are those whose first tasks ask for the same, that which most of the bands ask for; of an experiment no more
    than may start. Of several bands nothing is bound unless that is all that they have: for then, and only then, a
    lower one takes no room from a higher.
    """
    alike = dict[tuple[int, int, int], list[tuple[Group, UnboundRole]]]()
    capped = Counter[str]()
    for level, groups in bands:
        if level >= STARVING:
            continue
        for each in matching.roles.alone(groups):
            group, _ = each
            if group.may_start is not None:
                capped[group.experiment] += 1
                if capped[group.experiment] > matching.caps.left(group.experiment):
                    continue
            asked = group.resources
            alike.setdefault((asked.cpus, asked.memory_bytes, asked.gpus), []).append(each)
    open_ = max(alike.values(), key=len, default=[])[:_TOGETHER]
    is_all = len(open_) == sum([len(groups) for _, groups in bands])
    if not open_ or (len(bands) > 1 and not is_all):
        return False
    if not is_all:
        names = {group.id for group, _ in open_}
        bands = [(level, [group for group in groups if group.id in names]) for level, groups in bands]
    return _bind(matching, bands, shares, open_) and is_all


def _bind(matching: Matching, bands: Bands, shares: Shares | None, open_: Sequence[tuple[Group, UnboundRole]]) -> bool:
    """Bind these roles and start each group's first task; whether no other way starts more of their tasks."""
    numbers, seen, machines = dict[object, int](), dict[object, int](), list[Mapping[str, Room]]()
    of_groups = dict[str, _Open]()
    last, kind = None, 0
    for group, role in open_:
        # what is equal is mostly one object, and a hash of such objects is dear
        objects = id(role.requires), id(role.needs), id(role.barred), group.type, group.worker_labels
        if objects != last:
            last = objects
            if objects not in seen:
                key = role.requires, role.needs, role.barred, group.type, group.worker_labels
                seen[objects] = numbers.setdefault(key, len(machines))
                if seen[objects] == len(machines):
                    machines.append(matching.machines.for_role(role, [group]))
            kind = seen[objects]
        of_groups[group.id] = group, role, kind
    asked = replace(open_[0][0].resources, walltime_s=None)
    rooms = {name: room for each in machines for name, room in each.items()}
    is_kept = any(room.kept is not None for room in rooms.values())
    free = matching.machines.ranked([room for room in rooms.values() if room.kept is None], asked)
    room = {each.view.name: each.most(asked, len(open_), matching.now_s) for each in free}
    parts = [[of_groups[group.id] for group in part] for part in _parts(bands, shares, sum(room.values()))]
    order = [each for part in parts for each in part]
    kinds = [kind for _, _, kind in order]
    ranks = [rank for rank, part in enumerate(parts) for _ in part]
    names = nearest(kinds, ranks, [role.data_bytes for _, role, _ in order], machines, room)
    if names is None:
        return False
    taken, first = list[str](), 0
    for part in parts:
        taken += _start(matching, part, names[first : first + len(part)])
        first += len(part)
    for name, tasks in Counter(taken).items():
        rooms[name].take(asked, tasks, matching.now_s)
    if is_kept or len(taken) < len(names) - names.count(None):
        return False
    reasons = dict[int, Reason]()
    for group, role, kind in [each for each, name in zip(order, names, strict=True) if name is None]:
        if kind not in reasons:
            reasons[kind] = _unplaced(matching, group, role, [*machines[kind].values()])
        matching.settle(group, reasons[kind])
    return all(len(group.tasks) == 1 for group, _, _ in order)


def _unplaced(matching: Matching, group: Group, role: UnboundRole, rooms: Sequence[Room]) -> Reason:
    return no_room(group, rooms) if rooms else Reason("role", matching.machines.role_needs(role, [group]))


def _parts(bands: Bands, shares: Shares | None, places: int) -> list[list[Group]]:
    """The groups in the order in which they are served, each once; those of a part go before all of the next."""
    found = list[list[Group]]()
    for level, groups in bands:
        parts = [[group for group, _ in part] for part in rounds(level, groups, shares, places)]
        known = set[str]()
        for part in parts if len(parts) > 1 else ():
            part[:] = [group for group in part if group.id not in known]
            known.update([group.id for group in part])
        found += parts
    return found


def _start(matching: Matching, waiting: Sequence[_Open], names: Sequence[str | None]) -> Sequence[str]:
    """Start each group's first task on its machine, if it has one, and as far as there are slots; the machines."""
    going = [each for each, name in zip(waiting, names, strict=True) if name is not None]
    taken, demands = [name for name in names if name is not None], list[int]()
    known = defaultdict[tuple[str, tuple[str, ...]], dict[str, int]](dict)
    for (group, _, _), name in zip(going, taken, strict=True):
        on = known[group.type, group.worker_labels]
        demand = on.get(name)
        if demand is None:
            able = matching.fleet.able(group.type, group.worker_labels, (name,))
            demand = on[name] = matching.demand(able)
        demands.append(demand)
    wanted = Counter(demands)
    sent = matching.flow.send([*wanted.items()])
    if sent != [*wanted.values()]:
        left, has_slot = dict(zip(wanted, sent, strict=True)), list[bool]()
        for demand in demands:
            has_slot.append(left[demand] > 0)
            left[demand] -= 1
        going, taken = [*compress(going, has_slot)], [*compress(taken, has_slot)]
        demands = [*compress(demands, has_slot)]
    matching.start_each([group for group, _, _ in going], demands, taken)
    matching.roles.take([role for _, role, _ in going], taken)
    return taken
