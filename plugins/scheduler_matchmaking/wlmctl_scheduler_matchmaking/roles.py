"""Roles that have no machine yet, and the machines that they are bound to when their first task starts there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

from wlmctl.scheduler import Group, Reason, Snapshot, UnboundRole, UnboundRoles
from wlmctl.task import NOTHING, Resources
from wlmctl_scheduler_matchmaking.assigned import Bound
from wlmctl_scheduler_matchmaking.classes import Classes, local_bytes
from wlmctl_scheduler_matchmaking.machines import Machines
from wlmctl_scheduler_matchmaking.ranking import Even, Ranking
from wlmctl_scheduler_matchmaking.reasons import no_room
from wlmctl_scheduler_matchmaking.rooms import Room
from wlmctl_scheduler_matchmaking.workers import Fleet


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a task can go whose roles are open: its machine, all that it touches, and the open roles with theirs."""

    machine: str | None
    touches: tuple[str, ...]
    roles: Sequence[UnboundRole]
    machines: Sequence[str]


@dataclass(frozen=True, slots=True)
class _About:
    """Of a role the groups whose resources come from its machine, what its groups touch, and the machines that fit."""

    main: Sequence[Group]
    touched: frozenset[str]
    rooms: Mapping[str, Room]


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
        self._classes = Classes(snapshot)
        #: Of such a group which tasks have not started, as far as was asked, and which have since.
        self._waiting, self._started = dict[str, Sequence[int]](), defaultdict[str, set[int]](set)
        #: The machines of roles that were open.
        self._bound = dict[tuple[str, str], str]()
        #: By experiment, the machines that roles of it are bound to, each once, save those of an `each`.
        self._near = defaultdict[str, dict[str, None]](dict)
        #: By role, or by class of roles.
        self._known = dict[object, _About]()
        #: By experiment and what is asked the ranking of these machines; by None of all.
        self._rankings = dict[tuple[str | None, object], Ranking]()
        #: How many roles are bound to each machine.
        self._count = Counter(map(attrgetter("machine"), snapshot.bindings))
        self._evenly = dict[tuple[Resources, object], Even]()
        #: Sets of worker classes that have no slot left, and for which machines that was found.
        self._full, self._full_on = set[int](), dict[object, int]()
        for each in snapshot.bindings:  # there may be very many of an `each`
            if "[" not in each.role:
                self._near[each.experiment][each.machine] = None
        self.bindings = Bound()
        self._noted = self._noted_classes = 0

    @property
    def local_bytes(self) -> int:
        """How much of what the tasks of the roles that have got a machine read is where they go."""
        bound = zip(self.bindings.roles, self.bindings.machines, strict=True)
        alone = sum(role.data_bytes.get(machine, 0) for role, machine in bound)
        return alone + sum(local_bytes(*each) for each in self.bindings.classes)

    @cached_property
    def _groups(self) -> Mapping[str, Group]:
        return {group.id: group for group in self._all}

    def has(self, group: Group) -> bool:
        """Whether the group waits for a role that is open."""
        return group.id in self._first

    def waiting(self, group: Group) -> Sequence[int]:
        """Of a group whose tasks have roles of their own, which have not started, by number; sorted."""
        left = self._waiting.get(group.id, range(len(group.tasks)))
        if gone := self._started.pop(group.id, None):
            left = self._waiting[group.id] = [number for number in left if number not in gone]
        return left

    def is_simple(self, group: Group) -> bool:
        """Whether the roles of such a group are all of one class, of which nobody else waits for one, each once."""
        return group.id in self._classes.simple

    def is_bound(self, group: Group, number: int) -> bool:
        """Whether the own role of that task has got a machine."""
        return (group.experiment, group.own_roles[number]) in self._bound

    def started(self, group: Group, numbers: Collection[int]) -> None:
        """Of a group whose tasks have roles of their own, these have started."""
        self._started[group.id].update(numbers)

    def choose(self, group: Group, number: int | None = None) -> Choice | Reason | int:
        """Where the group's next task can go, or that with the number, which has a role of its own. Else why not: for
        want of a slot the worker classes that would have to have one.
        """
        self._note_new()
        touches, machine = group.touches, group.machine
        roles, machines = list[UnboundRole](), list[str]()
        alike, own = (None, None) if number is None else self._classes.own(group, number)
        for role in self._of(group) if own is None else (own,):
            is_main = group.machine is None and (number is not None or group.unbound == role.role)
            name = self._bound.get((role.experiment, role.role))
            if name is None:
                found = self._choose(role, alike, group, touches, is_main)
                if not isinstance(found, str):
                    return found
                name = found
                roles.append(role)
                machines.append(name)
            touches = (*touches, name)
            machine = name if is_main else machine
        if group.machine is None and machine is None:
            return Reason("role", f"its role {group.unbound} is not open")
        return Choice(machine, tuple(dict.fromkeys(touches)), roles, machines)

    def _of(self, group: Group) -> Iterable[UnboundRole]:
        return (self._first[group.id], *self._others.get(group.id, ())) if group.id in self._first else ()

    def alone(self, groups: Iterable[Group]) -> Iterator[UnboundRole | UnboundRoles | None]:
        """Of each group the open role whose machine's choice alone keeps its first task from starting, if one does; or
        those that its tasks wait for one by one.
        """
        self._note_new()
        for group in groups:
            role = self._first.get(group.id)
            if group.touches or group.counters or not group.resources.cpus:
                yield None
            elif role is None:
                yield self._classes.simple.get(group.id)
            elif (
                role.role != group.unbound
                or len(role.groups) > 1
                or group.id in self._others
                or (self._bound and (role.experiment, role.role) in self._bound)
            ):
                yield None
            else:
                yield role

    def where(self, group: Group) -> Iterable[Room]:
        """The machines that the group's role may be bound to."""
        if group.own_roles:
            return self._machines.for_role(self._classes.any_of(group), [group]).values()
        roles = [role for role in self._of(group) if role.role == group.unbound]
        return self._machines.for_role(roles[0], [group]).values() if roles else ()

    def _choose(
        self, role: UnboundRole, alike: UnboundRoles | None, group: Group, touches: tuple[str, ...], is_main: bool
    ) -> str | Reason | int:
        """The best machine for the role, which may be one of a class, on which the group can start now."""
        about = self._about(role, alike)
        rooms = about.rooms
        if not rooms:
            return Reason("role", self._machines.role_needs(role.role, role, about.main))
        # roles for which the same machines are as good share a ranking; `rooms` live as long as the decision
        asked = group.resources if is_main else NOTHING
        key = id(rooms), asked, group.type, group.worker_labels, touches
        room = self._best(role, group, touches, about, asked, key)
        if room is not None:
            return room.view.name
        return self._full_on[key] if key in self._full_on else no_room(group, [*rooms.values()])

    def _about(self, role: UnboundRole, alike: UnboundRoles | None) -> _About:
        """What there is to know of the role, or of all of its class; many groups may wait for one."""
        key = (role.experiment, role.role) if alike is None else id(alike)
        known = self._known.get(key)
        if known is None:
            groups = [self._groups[name] for name in role.groups if name in self._groups]
            main = [each for each in groups if each.machine is None and (each.own_roles or each.unbound == role.role)]
            touched = frozenset(name for each in groups for name in each.touches)
            known = self._known[key] = _About(main, touched, self._machines.for_role(role, main))
        return known

    def _best(
        self,
        role: UnboundRole,
        group: Group,
        touches: tuple[str, ...],
        about: _About,
        asked: Resources,
        alike: object,
    ) -> Room | None:
        """Of those on which it can start: that with most of its data, one near to what it has to do with, or any."""
        able, labels, rooms = self._fleet.able, group.worker_labels, about.rooms

        def may(room: Room) -> bool:
            classes = able(group.type, labels, (*touches, room.view.name))
            if classes in self._full:
                self._full_on[alike] = classes
                return False
            return bool(classes and room.most(asked, 1, self._now_s))

        data = {name: size_bytes for name, size_bytes in role.data_bytes.items() if size_bytes and name in rooms}
        there = self._machines.ranked([rooms[name] for name in data], asked)
        for room in sorted(there, key=lambda room: -data[room.view.name]):
            if may(room):
                return room
        here = self._machines.ranks([rooms[name] for name in (about.touched | {*touches}) & rooms.keys()], asked)
        near = [(rank, name) for rank, name, room in here if may(room)]

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

    def fill(self, group: Group, choice: Choice) -> bool:
        """No worker that could do the task has a slot left; whether another machine may be chosen by that."""
        if len(choice.roles) != 1:
            return False
        self._full.add(self._fleet.able(group.type, group.worker_labels, choice.touches))
        return True

    def take(self, roles: Sequence[UnboundRole], machines: Sequence[str]) -> None:
        """Each of the roles is bound to its machine."""
        self.bindings.roles += roles
        self.bindings.machines += machines

    def take_class(self, alike: UnboundRoles, numbers: Sequence[int], machines: Sequence[str]) -> None:
        """Each of these roles of a class is bound to its machine."""
        self.bindings.classes.append((alike, numbers, machines))

    def _note_new(self) -> None:
        """Note what has been bound since this was last called: after thousands of bindings nobody may ask any more."""
        bound = self.bindings
        for role, machine in zip(bound.roles[self._noted :], bound.machines[self._noted :], strict=True):
            self._note(role.experiment, role.role, machine)
        for alike, numbers, machines in bound.classes[self._noted_classes :]:
            for number, machine in zip(numbers, machines, strict=True):
                self._note(alike.experiment, alike.roles[number], machine)
        self._noted, self._noted_classes = len(bound.roles), len(bound.classes)

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
