"""Open roles that nothing but the choice of a machine keeps from starting: many of them are bound at once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, compress, groupby

from wlmctl.scheduler import Group, Reason, UnboundRole
from wlmctl_scheduler_matchmaking.matching import Matching
from wlmctl_scheduler_matchmaking.nearest import nearest
from wlmctl_scheduler_matchmaking.order import STARVING, Bands, Shares, fair_portions
from wlmctl_scheduler_matchmaking.reasons import no_room
from wlmctl_scheduler_matchmaking.rooms import Room

#: So many roles are bound together at most: that takes 1 s, one after the other they take far longer.
_TOGETHER = 150_000


@dataclass(slots=True)
class _Open:
    """Groups, the open role that each waits for, and the level of its band: in columns, as there are thousands."""

    groups: list[Group] = field(default_factory=list)
    roles: list[UnboundRole] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)


def bind_together(matching: Matching, bands: Bands, shares: Shares | None) -> bool:
    """Bind as many open roles as possible for every prefix of bands, where most of their data are; whether there is no
    better way to place all that the bands have, so that nothing is left to place.

    They are those whose first tasks ask for the same, that which most of the bands ask for; of an experiment no more
    than may start. Of several bands nothing is bound unless that is all that they have: for then, and only then, a
    lower one takes no room from a higher.
    """
    alike = defaultdict[tuple[int, int, int], _Open](_Open)
    capped = Counter[str]()
    for level, groups in bands:
        if level >= STARVING:
            continue
        for group, role in zip(groups, matching.roles.alone(groups), strict=True):
            if role is None:
                continue
            if group.may_start is not None:
                capped[group.experiment] += 1
                if capped[group.experiment] > matching.caps.left(group.experiment):
                    continue
            asked = group.resources
            open_ = alike[asked.cpus, asked.memory_bytes, asked.gpus]
            open_.groups.append(group)
            open_.roles.append(role)
            open_.levels.append(level)
    most = max(alike.values(), key=lambda each: len(each.groups), default=_Open())
    most = _Open(most.groups[:_TOGETHER], most.roles[:_TOGETHER], most.levels[:_TOGETHER])
    is_all = len(most.groups) == sum([len(groups) for _, groups in bands])
    if not most.groups or (len(bands) > 1 and not is_all):
        return False
    return _bind(matching, most, shares) and is_all


def _bind(matching: Matching, open_: _Open, shares: Shares | None) -> bool:
    """Bind these roles and start each group's first task; whether no other way starts more of their tasks."""
    of_open, firsts = _kinds(open_)
    machines = [matching.machines.for_role(open_.roles[first], [open_.groups[first]]) for first in firsts]
    asked = replace(open_.groups[0].resources, walltime_s=None)
    rooms = dict[str, Room]()
    for each in machines:
        rooms.update(each)
    is_kept = any(room.kept is not None for room in rooms.values())
    free = matching.machines.ranked([room for room in rooms.values() if room.kept is None], asked)
    room = {each.view.name: each.most(asked, len(of_open), matching.now_s) for each in free}
    parts = _parts(open_, shares, sum(room.values()))
    order = [*chain.from_iterable(parts)]
    groups, roles = [open_.groups[number] for number in order], [open_.roles[number] for number in order]
    kinds = [of_open[number] for number in order]
    ranks = [rank for rank, part in enumerate(parts) for _ in part]
    names = nearest(kinds, ranks, [role.data_bytes for role in roles], machines, room)
    if names is None:
        return False
    taken, begin = list[str](), 0
    for part in parts:
        of_part = slice(begin, begin + len(part))
        taken += _start(matching, groups[of_part], roles[of_part], kinds[of_part], names[of_part])
        begin = of_part.stop
    for name, tasks in Counter(taken).items():
        rooms[name].take(asked, tasks, matching.now_s)
    if is_kept or len(taken) < len(names) - names.count(None):
        return False
    reasons = dict[int, Reason]()
    for number in [number for number, name in enumerate(names) if name is None]:
        group, kind = groups[number], kinds[number]
        if kind not in reasons:
            reasons[kind] = _unplaced(matching, group, roles[number], [*machines[kind].values()])
        matching.settle(group, reasons[kind])
    return all(len(group.tasks) == 1 for group in groups)


def _kinds(open_: _Open) -> tuple[Sequence[int], Sequence[int]]:
    """The kind of each role, and of each kind the first: the same machines suit all of one kind."""
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


def _unplaced(matching: Matching, group: Group, role: UnboundRole, rooms: Sequence[Room]) -> Reason:
    return no_room(group, rooms) if rooms else Reason("role", matching.machines.role_needs(role, [group]))


def _parts(open_: _Open, shares: Shares | None, places: int) -> list[list[int]]:
    """The numbers of the groups in the order in which they are served; those of a part go before all of the next."""
    found = list[list[int]]()
    for _, of_band in groupby(range(len(open_.groups)), open_.levels.__getitem__):
        numbers = [*of_band]
        groups = [open_.groups[number] for number in numbers]
        portions = fair_portions(groups, shares, places) if shares is not None else None
        if portions is None:
            found.append(numbers)
            continue
        fair, in_order = portions
        number_of = {group.id: number for group, number in zip(groups, numbers, strict=True)}
        found.append([number_of[group.id] for group in in_order if fair[group.id]])
        found.append([number_of[group.id] for group in in_order if not fair[group.id]])
    return found


def _start(
    matching: Matching,
    groups: Sequence[Group],
    roles: Sequence[UnboundRole],
    kinds: Sequence[int],
    names: Sequence[str | None],
) -> Sequence[str]:
    """Start each group's first task on its machine, if it has one, and as far as there are slots; the machines."""
    has_name = [name is not None for name in names]
    going, kinds = [*compress(groups, has_name)], [*compress(kinds, has_name)]
    taken, demands = [name for name in names if name is not None], list[int]()
    known = defaultdict[int, dict[str, int]](dict)
    for group, kind, name in zip(going, kinds, taken, strict=True):
        demand = known[kind].get(name)
        if demand is None:
            able = matching.fleet.able(group.type, group.worker_labels, (name,))
            demand = known[kind][name] = matching.demand(able)
        demands.append(demand)
    wanted = Counter(demands)
    sent = matching.flow.send([*wanted.items()])
    has_slot = [True] * len(demands)
    if sent != [*wanted.values()]:
        left = dict(zip(wanted, sent, strict=True))
        for number, demand in enumerate(demands):
            has_slot[number] = left[demand] > 0
            left[demand] -= 1
    going, taken, demands = [*compress(going, has_slot)], [*compress(taken, has_slot)], [*compress(demands, has_slot)]
    matching.start_each(going, demands, taken)
    matching.roles.take([*compress(compress(roles, has_name), has_slot)], taken)
    return taken
