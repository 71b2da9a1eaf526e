"""Which machines may do for tasks that have none yet, the best first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from wlmctl.machine import Machine, Requirement
from wlmctl.scheduler import Group, MachineView, RoleNeed, UnboundRole, UnboundRoles
from wlmctl.task import NOTHING, Resources
from wlmctl_scheduler_matchmaking.prices import machine_prices
from wlmctl_scheduler_matchmaking.rooms import Room, Rooms
from wlmctl_scheduler_matchmaking.sites import Sites
from wlmctl_scheduler_matchmaking.workers import Fleet


class Machines:
    """The machines of one decision."""

    def __init__(self, views: Mapping[str, MachineView], rooms: Rooms, fleet: Fleet, *, is_spread: bool) -> None:
        self.rooms, self._views, self._fleet = rooms, views, fleet
        self._sign = -1 if is_spread else 1
        self._known: dict[tuple[object, ...], Mapping[str, Room]] = {}
        #: By what tasks need: whether machines, by number, that are not held can do them all.
        self._can_do = defaultdict[tuple[RoleNeed, ...], dict[int, bool]](dict)
        self._misfits: dict[tuple[object, ...], str] = {}

    @cached_property
    def _names(self) -> Sequence[str]:
        return sorted(self._views)

    @cached_property
    def _in_order(self) -> Sequence[MachineView]:
        return [*map(self._views.__getitem__, self._names)]

    @cached_property
    def _prices(self) -> Mapping[str, float]:
        return machine_prices(self._in_order)

    @cached_property
    def _labelled(self) -> Mapping[str, Sequence[int]]:
        found = defaultdict[str, list[int]](list)
        for number, view in enumerate(self._in_order):
            for label in view.labels:
                found[label].append(number)
        return found

    @cached_property
    def sites(self) -> Sites:
        """The same machines in columns, for those who look at all of them at once."""
        return Sites(self._in_order, [*self._prices.values()], self.rooms, self._fleet, self._sign)

    def for_each(self, group: Group) -> Mapping[str, Room]:
        """The machines, whatever their size, that have what tasks of a group need that may go anywhere."""
        requires = group.anywhere or Requirement()
        key = (requires, group.type, group.worker_labels)
        found = self._known.get(key)
        if found is None:
            need = RoleNeed(group.type, NOTHING, group.worker_labels)
            found = self._known[key] = self._fitting(requires, (need,), frozenset())
        return found

    def for_role(self, role: UnboundRole | UnboundRoles, groups: Sequence[Group]) -> Mapping[str, Room]:
        """The machines that the role could be bound to, with all of its tasks in view."""
        ready = [(each.type, each.resources, each.worker_labels) for each in groups]
        key = (role.requires, role.needs, role.barred, *ready)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._fitting(role.requires, all_needs(role, groups), role.barred)
        return found

    def _fitting(
        self, requires: Requirement, needs: tuple[RoleNeed, ...], barred: frozenset[str]
    ) -> Mapping[str, Room]:
        numbers: Iterable[int] = range(len(self._names))
        if requires.labels:
            numbers = sorted(set.intersection(*[set(self._labelled.get(label, ())) for label in requires.labels]))
        if not requires.cpus is requires.memory_bytes is requires.gpus is None:
            numbers = [number for number in numbers if requires.misfit(_offered(self._in_order[number])) is None]
        can_do, rooms, names = self._can_do[needs], self.rooms, self._names
        for number in numbers:
            if number not in can_do:
                room = rooms[names[number]]
                can_do[number] = not room.view.held and self._unable(room, needs) is None
        found = {names[number]: rooms[names[number]] for number in numbers if can_do[number]}
        for name in barred:
            found.pop(name, None)
        return found

    def ranked(self, rooms: Iterable[Room], asked: Resources) -> list[Room]:
        """Those that have room for one such task now, the best first.

        That is the cheapest with the least left over of its cpus and memory (the most, where tasks are spread).
        """
        return [room for _, _, room in sorted(self.ranks(rooms, asked))]

    def ranks(self, rooms: Iterable[Room], asked: Resources) -> list[tuple[float, str, Room]]:
        """The same in no order, each with its rank and its name: the least is the best."""
        sign, prices = self._sign, self._prices
        cpus, memory_bytes, gpus = asked.cpus, asked.memory_bytes, asked.gpus
        return [
            # names differ, so that rooms are not compared
            (prices[room.view.name] + sign * room.left_over(asked), room.view.name, room)
            for room in rooms
            for left in (room.left,)
            if cpus <= left[0] and memory_bytes <= left[1] and gpus <= left[2] and (room.jobs > 0 or not cpus)
        ]

    def no_fit(self, what: str, requires: Requirement, needs: Sequence[RoleNeed], barred: frozenset[str]) -> str:
        """Why no machine fits, as a sentence."""
        key = requires, tuple(needs), barred
        if key not in self._misfits:
            whys = [
                f"{room.view.name} {self._why_not(room, requires, needs) or 'fits'}"
                for name in self._names
                if name not in barred
                for room in (self.rooms[name],)
            ]
            more = f"; and {len(whys) - 3} more" if len(whys) > 3 else ""
            self._misfits[key] = f"{'; '.join(whys[:3]) or 'there is none'}{more}"
        return f"no machine fits {what}: {self._misfits[key]}"

    def role_needs(self, name: str, role: UnboundRole | UnboundRoles, groups: Sequence[Group]) -> str:
        """Why no machine fits the role."""
        return self.no_fit(f"the role {name}", role.requires, all_needs(role, groups), role.barred)

    def _why_not(self, room: Room, requires: Requirement, needs: Sequence[RoleNeed]) -> str | None:
        return "is held" if room.view.held else requires.misfit(_offered(room.view)) or self._unable(room, needs)

    def _unable(self, room: Room, needs: Sequence[RoleNeed]) -> str | None:
        """Why such tasks cannot all run there."""
        for need in needs:
            if not room.can_ever(need.resources):
                return f"is too small for a task that asks for {asks(need.resources)}"
            if not self._fleet.able(need.type, need.worker_labels, (room.view.name,)):
                labels = f" with the labels {', '.join(need.worker_labels)}" if need.worker_labels else ""
                return f"is reached by no live worker for {need.type}{labels}"
        return None


def all_needs(role: UnboundRole | UnboundRoles, groups: Sequence[Group]) -> tuple[RoleNeed, ...]:
    """What tasks of the role ask, ready or not, each once."""
    ready = [RoleNeed(each.type, each.resources, each.worker_labels) for each in groups]
    needs = {*role.needs, *ready}
    return tuple(needs if len(needs) == 1 else sorted(needs, key=repr))


def asks(asked: Resources) -> str:
    """What a task asks for, in words."""
    parts = [f"{asked.cpus} cpus"]
    if asked.memory_bytes:
        parts.append(f"{asked.memory_bytes} bytes of memory")
    if asked.gpus:
        parts.append(f"{asked.gpus} gpus")
    if asked.nodes > 1:
        parts.append(f"each of {asked.nodes} machines")
    return ", ".join(parts)


def _offered(view: MachineView) -> Machine:
    return Machine(view.name, labels=view.labels, cpus=view.cpus, memory_bytes=view.memory_bytes, gpus=view.gpus)
