"""Roles that have no machine yet, and the machines that they are bound to when their first task can start there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from wlmctl.scheduler import Group, Reason, Snapshot, UnboundRole
from wlmctl.task import Resources
from wlmctl_scheduler_matchmaking.assigned import Bound
from wlmctl_scheduler_matchmaking.machines import Machines
from wlmctl_scheduler_matchmaking.ranking import Even, Ranking
from wlmctl_scheduler_matchmaking.reasons import no_room
from wlmctl_scheduler_matchmaking.rooms import Room
from wlmctl_scheduler_matchmaking.workers import Fleet

#: What a task takes of a machine that it only touches.
_NOTHING = Resources(cpus=0)


class Roles:
    """The open roles of one decision; ``bindings`` are those that have got a machine in it."""

    def __init__(self, snapshot: Snapshot, fleet: Fleet, machines: Machines) -> None:
        self._now_s, self._fleet, self._machines = snapshot.now_s, fleet, machines
        self._all, first = snapshot.groups, dict[str, UnboundRole]()
        #: By group that waits for one, an open role, and for those that wait for several the others.
        self._first, self._others = first, defaultdict[str, list[UnboundRole]](list)
        for role in snapshot.roles:
            for name in role.groups:
                if first.setdefault(name, role) is not role:
                    self._others[name].append(role)
        self._bound = dict[tuple[str, str], str]()
        #: By experiment, the machines that roles of it are bound to, each once, save those of an `each`.
        self._near = defaultdict[str, dict[str, None]](dict)
        #: By experiment and what is asked the ranking of these machines; by None of all.
        self._rankings = dict[tuple[str | None, object], Ranking]()
        #: How many roles are bound to each machine.
        self._count = Counter[str]()
        self._evenly = dict[tuple[Resources, object], Even]()
        for each in snapshot.bindings:
            self._note(each.experiment, each.role, each.machine)
        self.bindings = Bound()
        self._noted = 0

    @property
    def local_bytes(self) -> int:
        """How much of what the tasks of the roles that have got a machine read is where they go."""
        bound = zip(self.bindings.roles, self.bindings.machines, strict=True)
        return sum(role.data_bytes.get(machine, 0) for role, machine in bound)

    @cached_property
    def _groups(self) -> Mapping[str, Group]:
        return {group.id: group for group in self._all}

    def has(self, group: Group) -> bool:
        """Whether the group waits for a role that is open."""
        return group.id in self._first

    def bind(self, group: Group) -> tuple[str | None, tuple[str, ...]] | Reason:
        """Bind the group's open roles; its machine and all that it touches, or why it cannot start by that."""
        self._note_new()
        touches, machine = group.touches, group.machine
        for role in self._of(group):
            is_main = group.machine is None and group.unbound == role.role
            name = self._bound.get((role.experiment, role.role)) or self._choose(role, group, is_main)
            if isinstance(name, Reason):
                return name
            touches = (*touches, name)
            machine = name if is_main else machine
        if group.machine is None and machine is None:
            return Reason("role", f"its role {group.unbound} is not open")
        return machine, tuple(dict.fromkeys(touches))

    def _of(self, group: Group) -> Iterable[UnboundRole]:
        return (self._first[group.id], *self._others.get(group.id, ())) if group.id in self._first else ()

    def alone(self, groups: Iterable[Group]) -> Iterator[UnboundRole | None]:
        """Of each group the open role whose machine's choice alone keeps its first task from starting, if one does."""
        self._note_new()
        for group in groups:
            role = self._first.get(group.id)
            if role is not None and (
                group.touches
                or group.counters
                or not group.resources.cpus
                or role.role != group.unbound
                or len(role.groups) > 1
                or group.id in self._others
                or (self._bound and (role.experiment, role.role) in self._bound)
            ):
                role = None
            yield role

    def where(self, group: Group) -> Iterable[Room]:
        """The machines that the group's role may be bound to."""
        roles = [role for role in self._of(group) if role.role == group.unbound]
        return self._machines.for_role(roles[0], [group]).values() if roles else ()

    def _choose(self, role: UnboundRole, group: Group, is_main: bool) -> str | Reason:
        """Bind the role to the best machine on which the group can start now."""
        main = [
            each
            for each in (self._groups[name] for name in role.groups if name in self._groups)
            if each.machine is None and each.unbound == role.role
        ]
        rooms = self._machines.for_role(role, main)
        if not rooms:
            return Reason("role", self._machines.role_needs(role, main))
        room = self._best(role, group, rooms, group.resources if is_main else _NOTHING)
        if room is None:
            return no_room(group, [*rooms.values()])
        self.take([role], [room.view.name])
        return room.view.name

    def _best(self, role: UnboundRole, group: Group, rooms: Mapping[str, Room], asked: Resources) -> Room | None:
        """Of those on which it can start: that with most of its data, one near to what it has to do with, or any."""
        able, labels, touches = self._fleet.able, group.worker_labels, group.touches

        def may(room: Room) -> bool:
            return bool(able(group.type, labels, (*touches, room.view.name)) and room.most(asked, 1, self._now_s))

        data = {name: size_bytes for name, size_bytes in role.data_bytes.items() if size_bytes and name in rooms}
        there = self._machines.ranked([rooms[name] for name in data], asked)
        for room in sorted(there, key=lambda room: -data[room.view.name]):
            if may(room):
                return room
        touched = {name for each in role.groups if each in self._groups for name in self._groups[each].touches}
        here = self._machines.ranks([rooms[name] for name in touched & rooms.keys()], asked)
        near = [(rank, name) for rank, name, room in here if may(room)]
        # roles for which the same machines are as good share a ranking; `rooms` live as long as the decision
        alike = id(rooms), asked, group.type, labels, touches

        def first(whose: str | None, names: Collection[str]) -> list[tuple[float, str]]:
            if (whose, alike) not in self._rankings:
                self._rankings[whose, alike] = Ranking(self._machines, rooms, asked, may)
            return self._rankings[whose, alike].first(names)

        later = _later(role) if not asked.cpus else None
        # of an `each`, those that take nothing yet would all go to the one machine where another role is
        if (known := self._near.get(role.experiment)) and (later is None or "[" not in role.role):
            near += first(role.experiment, known)
        if not near and later is not None:
            key = later, alike
            if key not in self._evenly:
                self._evenly[key] = Even(self._machines.ranks(rooms.values(), asked), later, self._count)
            name = self._evenly[key].first(lambda name: may(rooms[name]))
            return None if name is None else rooms[name]
        near = near or first(None, rooms)
        return rooms[min(near)[1]] if near else None

    def take(self, roles: Sequence[UnboundRole], machines: Sequence[str]) -> None:
        """Each of the roles is bound to its machine."""
        self.bindings.roles += roles
        self.bindings.machines += machines

    def _note_new(self) -> None:
        """Note what has been bound since this was last called: after thousands of bindings nobody may ask any more."""
        bound = self.bindings
        for role, machine in zip(bound.roles[self._noted :], bound.machines[self._noted :], strict=True):
            self._note(role.experiment, role.role, machine)
        self._noted = len(bound)

    def _note(self, experiment: str, role: str, machine: str) -> None:
        self._bound[experiment, role] = machine
        if "[" not in role:
            self._near[experiment][machine] = None
        self._count[machine] += 1


def _later(role: UnboundRole) -> Resources | None:
    """The most that a task of the role will take of its machine; None where none takes anything."""
    asked = [need.resources for need in role.needs if need.resources.cpus]
    if not asked:
        return None
    return Resources(
        max(each.cpus for each in asked), max(each.memory_bytes for each in asked), max(each.gpus for each in asked)
    )
