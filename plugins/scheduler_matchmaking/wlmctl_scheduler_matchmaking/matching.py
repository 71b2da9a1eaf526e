"""One decision under way: groups are given slots by the flow, within the limits of machines, caps and counters."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from wlmctl.machine import Requirement
from wlmctl.scheduler import Binding, Group, Reason, Snapshot, UnboundRole
from wlmctl.task import Resources
from wlmctl_scheduler_matchmaking.flow import Flow
from wlmctl_scheduler_matchmaking.machines import Machines, asks
from wlmctl_scheduler_matchmaking.order import STARVING, Shares, owner
from wlmctl_scheduler_matchmaking.packing import Packing
from wlmctl_scheduler_matchmaking.rooms import Caps, Room
from wlmctl_scheduler_matchmaking.workers import Fleet

#: A share of an owner's tasks is placed before it is looked again who has least: in at least so many parts.
_PARTS = 8


@dataclass(slots=True)
class Run:
    """The next ``tasks`` tasks of a group go to a machine (and ``more``), by the flow of a demand class."""

    group: Group
    tasks: int
    demand: int
    machine: str | None
    more: tuple[str, ...] = ()


class Matching:
    """What is matched so far. Groups come in bands, the highest first."""

    def __init__(
        self,
        snapshot: Snapshot,
        fleet: Fleet,
        flow: Flow,
        rooms: Mapping[str, Room],
        machines: Machines,
        shares: Shares | None,
        *,
        packs: bool = False,
    ) -> None:
        self._snapshot, self._fleet, self.flow = snapshot, fleet, flow
        self._rooms, self._machines, self._shares = rooms, machines, shares
        self._caps, self._packs = Caps(snapshot), packs
        self._demands: dict[int, int] = {}
        self._groups = {group.id: group for group in snapshot.groups}
        self._roles = dict[str, list[UnboundRole]]()
        for role in snapshot.roles:
            for name in role.groups:
                self._roles.setdefault(name, []).append(role)
        self._bound = {(each.experiment, each.role): each.machine for each in snapshot.bindings}
        self.runs: list[Run] = []
        self.left: dict[str, int] = {group.id: len(group.tasks) for group in snapshot.groups}
        self.bindings: list[Binding] = []
        #: Why a group got no further, where it is not for want of slots.
        self.reasons: dict[str, Reason] = {}
        #: By group: the demand class that found no slot.
        self.short: dict[str, int] = {}

    def demand(self, able: int) -> int:
        """The demand class of tasks that these worker classes can do."""
        known = self._demands.get(able)
        if known is None:
            known = self._demands[able] = self.flow.add(able)
        return known

    def demand_of(self, group: Group) -> int:
        """The demand class of the group's tasks, where they are."""
        return self.demand(self._fleet.able(group.type, group.worker_labels, group.touches))

    # --- within the limits of machines, caps and counters

    def place(self, level: int, groups: Sequence[Group]) -> None:
        """Place one band group after group; who has least goes first, and is looked for again as shares grow."""
        if self._packs:
            self._packing = Packing(groups, self._machines)
            self._in_turn(level, [group for group in groups if self._packing.has(group)], self._place_packed)
        self._in_turn(level, groups, self.place_some)

    def _in_turn(self, level: int, groups: Sequence[Group], place: Callable[[Group, int], int]) -> None:
        if level >= STARVING or self._shares is None:
            for group in groups:
                place(group, self.left[group.id])
            return
        shares = self._shares
        given = {owner(group): shares.of(owner(group)) for group in groups}
        # among equals small tasks first: that places most
        in_order = sorted(groups, key=shares.each)
        heap = [(*given[owner(group)], number, group.id) for number, group in enumerate(in_order)]
        heapq.heapify(heap)
        while heap:
            share, decayed, number, name = heapq.heappop(heap)
            group = self._groups[name]
            whose = owner(group)
            if given[whose][0] > share:
                heapq.heappush(heap, (*given[whose], number, name))
                continue
            part = max(1, -(-len(group.tasks) // _PARTS)) if heap else len(group.tasks)
            placed = place(group, part)
            given[whose] = share + placed * shares.each(group), decayed
            if placed == part and self.left[name]:
                heapq.heappush(heap, (*given[whose], number, name))

    def place_some(self, group: Group, wanted: int) -> int:
        """Place at most so many more tasks of the group; how many found a place."""
        wanted = min(wanted, self.left[group.id])
        allowed, reason = self._caps.most(group, wanted)
        if reason is not None:
            self.reasons[group.id] = reason
        if not allowed:
            return 0
        if group.anywhere is not None:
            return self._place_anywhere(group, allowed)
        if group.unbound is not None or group.id in self._roles:
            machines = self._bind(group)
            if machines is None:
                return 0
        else:
            machines = (group.machine, group.touches)
        return self._place_on(group, machines[0], machines[1], allowed)

    def _place_on(self, group: Group, machine: str | None, touches: tuple[str, ...], wanted: int) -> int:
        """Place on a machine that is given."""
        able = self._fleet.able(group.type, group.worker_labels, touches)
        room = self._rooms.get(machine or "")
        if not able:
            self.reasons[group.id] = Reason("worker", "no live worker can do it")
            return 0
        fitting = wanted if room is None else room.most(group.resources, wanted, self._snapshot.now_s)
        sent = self.flow.send([(self.demand(able), fitting)])[0] if fitting else 0
        if sent:
            self.start(Run(group, sent, self.demand(able), machine))
            if room is not None:
                room.take(group.resources, sent, self._snapshot.now_s)
        if sent < fitting:
            self.short[group.id] = self.demand(able)
        elif fitting < wanted and room is not None:
            self.reasons[group.id] = _full(group, [room])
        return sent

    def _place_anywhere(self, group: Group, wanted: int) -> int:
        """Place each task on machines of its own."""
        rooms = self._machines.for_each(group)
        nodes, now_s, asked = group.resources.nodes, self._snapshot.now_s, group.resources
        if len(rooms) < nodes:
            text = self._machines.no_fit("it", group.anywhere or Requirement(), (), frozenset())
            self.reasons[group.id] = Reason("role", text)
            return 0
        placed, is_short = 0, False
        if nodes > 1:
            while placed < wanted and not is_short:
                open_ = [room for room in self._machines.ranked(rooms, asked) if room.most(asked, 1, now_s)][:nodes]
                if len(open_) < nodes:
                    break
                is_short = not self._start_at(group, open_, 1)
                placed += not is_short
        else:
            for room in self._machines.ranked(rooms, asked):
                if placed == wanted:
                    break
                fitting = room.most(asked, wanted - placed, now_s)
                if fitting:
                    sent = self._start_at(group, [room], fitting)
                    placed, is_short = placed + sent, sent < fitting
        if placed < wanted and not is_short:
            self.reasons[group.id] = _full(group, rooms)
        return placed

    def _place_packed(self, group: Group, wanted: int) -> int:
        """Place tasks on the machines that were found for the whole band."""
        return sum(
            [
                self._start_at(group, [room], tasks)
                for room, tasks in self._packing.take(group, min(wanted, self.left[group.id]))
            ]
        )

    def _start_at(self, group: Group, rooms: Sequence[Room], wanted: int) -> int:
        names = [room.view.name for room in rooms]
        able = self._fleet.able(group.type, group.worker_labels, tuple(names))
        demand = self.demand(able)
        sent = self.flow.send([(demand, wanted)])[0]
        if sent:
            self.start(Run(group, sent, demand, names[0], tuple(names[1:])))
            for room in rooms:
                room.take(group.resources, sent, self._snapshot.now_s)
        if sent < wanted:
            self.short[group.id] = demand
        return sent

    def start(self, run: Run) -> None:
        """Its tasks start."""
        self.runs.append(run)
        self.left[run.group.id] -= run.tasks
        self._caps.take(run.group, run.tasks)

    # --- roles

    def _bind(self, group: Group) -> tuple[str | None, tuple[str, ...]] | None:
        """Bind the group's open roles; its machine and all it touches, None while it cannot start by that."""
        touches, machine = group.touches, group.machine
        for role in self._roles.get(group.id, ()):
            is_main = group.machine is None and group.unbound == role.role
            name = self._bound.get((role.experiment, role.role)) or self._choose(role, group, is_main)
            if name is None:
                return None
            touches = (*touches, name)
            machine = name if is_main else machine
        if group.machine is None and machine is None:
            self.reasons.setdefault(group.id, Reason("role", f"its role {group.unbound} is not open"))
            return None
        return machine, tuple(dict.fromkeys(touches))

    def _choose(self, role: UnboundRole, group: Group, is_main: bool) -> str | None:
        """Bind the role to the best machine on which the group can start now; None where there is none."""
        main = [
            each
            for each in (self._groups[name] for name in role.groups if name in self._groups)
            if each.machine is None and each.unbound == role.role
        ]
        rooms = self._machines.for_role(role, main)
        if not rooms:
            self.reasons[group.id] = Reason("role", self._machines.role_needs(role, main))
            return None
        near = {machine for (experiment, _), machine in self._bound.items() if experiment == role.experiment}
        near.update(name for each in role.groups if each in self._groups for name in self._groups[each].touches)
        asked = group.resources if is_main else NOTHING
        for room in sorted(
            self._machines.ranked(rooms, asked),
            key=lambda each: (-role.data_bytes.get(each.view.name, 0), each.view.name not in near),
        ):
            name = room.view.name
            is_reached = self._fleet.able(group.type, group.worker_labels, (*group.touches, name))
            if is_reached and room.most(asked, 1, self._snapshot.now_s):
                self._bound[role.experiment, role.role] = name
                self.bindings.append(Binding(role.experiment, role.role, name))
                return name
        self.reasons[group.id] = _full(group, rooms)
        return None

    def where(self, group: Group) -> Iterable[Room]:
        """The machines that may do for the group's next task."""
        if group.anywhere is not None:
            return self._machines.for_each(group)
        if group.machine is not None:
            return [self._rooms[group.machine]] if group.machine in self._rooms else ()
        roles = [role for role in self._roles.get(group.id, ()) if role.role == group.unbound]
        return self._machines.for_role(roles[0], [group]) if roles else ()


#: What a task takes of a machine that it only touches.
NOTHING = Resources(cpus=0)


def _full(group: Group, rooms: Sequence[Room]) -> Reason:
    """Why there is no room on any of these machines."""
    asked = asks(group.resources)
    if len(rooms) == 1:
        room = rooms[0]
        if not room.can_ever(group.resources):
            return Reason("capacity", f"machine {room.view.name} is too small for {asked}")
        if room.kept is not None and room.kept.task not in group.tasks[:1]:
            return Reason("reserved", f"machine {room.view.name} is kept for {room.kept.task}, which has waited longer")
        if room.jobs < 1:
            return Reason("capacity", f"machine {room.view.name} takes no more jobs now")
        return Reason("capacity", f"machine {room.view.name} has no room for {asked}")
    return Reason("capacity", f"none of the {len(rooms)} machines that fit has room for {asked}")
