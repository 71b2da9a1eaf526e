"""One decision under way: groups are given slots by the flow, within the limits of machines, caps and counters."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from wlmctl.machine import Requirement
from wlmctl.scheduler import Group, Reason, Snapshot
from wlmctl_scheduler_matchmaking.flow import Flow
from wlmctl_scheduler_matchmaking.machines import Machines
from wlmctl_scheduler_matchmaking.order import STARVING, Owner, Shares, owner
from wlmctl_scheduler_matchmaking.packing import Packing
from wlmctl_scheduler_matchmaking.reasons import no_room
from wlmctl_scheduler_matchmaking.roles import Roles
from wlmctl_scheduler_matchmaking.rooms import Caps, Room
from wlmctl_scheduler_matchmaking.runs import Runs
from wlmctl_scheduler_matchmaking.workers import Fleet

#: A share of an owner's tasks is placed before it is looked again who has least: in at least so many parts.
_PARTS = 8


class Matching:
    """What is matched so far. Groups come in bands, the highest first."""

    def __init__(
        self,
        snapshot: Snapshot,
        fleet: Fleet,
        flow: Flow,
        machines: Machines,
        shares: Shares | None,
        *,
        packs: bool = False,
    ) -> None:
        self.now_s, self.fleet, self.flow, self.machines = snapshot.now_s, fleet, flow, machines
        self._rooms, self._shares = machines.rooms, shares
        self.caps, self._packs = Caps(snapshot), packs
        self._demands: dict[int, int] = {}
        self.roles = Roles(snapshot, fleet, machines)
        self.runs = Runs()
        self.left: dict[str, int] = {group.id: len(group.tasks) for group in snapshot.groups}
        #: Why a group got no further, where it is not for want of slots.
        self.reasons: dict[str, Reason] = {}
        self._settled = set[str]()
        #: Whether all that is matched is known to be the most that is possible.
        self.is_best = False
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
        return self.demand(self.fleet.of_groups[group.id])

    # --- within the limits of machines, caps and counters

    def place(self, level: int, groups: Sequence[Group]) -> None:
        """Place one band group after group; who has least goes first, and is looked for again as shares grow."""
        waiting = [group for group in groups if self.left[group.id] and group.id not in self._settled]
        if self._packs and waiting and level < STARVING:
            self._packing = Packing(waiting, self.machines)
            self._in_turn(level, [group for group in waiting if self._packing.has(group)], self._place_packed)
        self._in_turn(level, waiting, self.place_some)

    def _in_turn(self, level: int, groups: Sequence[Group], place: Callable[[Group, int], int]) -> None:
        if level >= STARVING or self._shares is None:
            for group in groups:
                place(group, self.left[group.id])
            return
        shares = self._shares
        queues = dict[Owner, deque[tuple[int, Group]]]()
        # among equals small tasks first: that places most
        for number, group in enumerate(sorted(groups, key=shares.each)):
            queues.setdefault(owner(group), deque()).append((number, group))
        heap = [(*shares.of(whose), queue[0][0], whose) for whose, queue in queues.items()]
        heapq.heapify(heap)
        while heap:
            share, decayed, _, whose = heapq.heappop(heap)
            queue = queues[whose]
            group = queue[0][1]
            part = max(1, -(-len(group.tasks) // _PARTS)) if heap else len(group.tasks)
            placed = place(group, part)
            if placed < part or not self.left[group.id]:
                queue.popleft()
            if queue:
                heapq.heappush(heap, (share + placed * shares.each(group), decayed, queue[0][0], whose))

    def place_some(self, group: Group, wanted: int) -> int:
        """Place at most so many more tasks of the group; how many found a place."""
        wanted = min(wanted, self.left[group.id])
        allowed, reason = self.caps.most(group, wanted)
        if reason is not None:
            self.reasons[group.id] = reason
        if not allowed:
            return 0
        if group.anywhere is not None:
            return self._place_anywhere(group, allowed)
        if group.own_roles:
            return self._place_own(group, allowed)
        if group.unbound is None and not self.roles.has(group):
            return self._place_on(group, group.machine, group.touches, allowed)
        return self._place_choosing(group, None, allowed)

    def _place_own(self, group: Group, wanted: int) -> int:
        """Place tasks that have a role of their own each: what one of them does not find, none of the others does whose
        role is open, too.
        """
        placed, is_open = list[int](), True
        for number in self.roles.waiting(group):
            if len(placed) == wanted or (not is_open and self.roles.is_simple(group)):
                break
            if not is_open and not self.roles.is_bound(group, number):
                continue
            if self._place_choosing(group, number, 1):
                placed.append(number)
            elif not self.roles.is_bound(group, number):
                is_open = False
        self.roles.started(group, placed)
        return len(placed)

    def _place_choosing(self, group: Group, number: int | None, wanted: int) -> int:
        """Place on the best machine where a task can start now; only then are its open roles bound."""
        while True:
            choice = self.roles.choose(group, number)
            if isinstance(choice, Reason):
                self.reasons[group.id] = choice
                return 0
            if isinstance(choice, int):
                self.short[group.id] = self.demand(choice)
                return 0
            self.short.pop(group.id, None)
            placed = self._place_on(group, choice.machine, choice.touches, wanted, number)
            if placed:
                self.roles.take(choice.roles, choice.machines)
                return placed
            if group.id not in self.short or not self.roles.fill(group, choice):
                return 0

    def _place_on(
        self, group: Group, machine: str | None, touches: tuple[str, ...], wanted: int, number: int | None = None
    ) -> int:
        """Place on a machine that is given; ``number``: that task of the group, not the next ones."""
        able = self.fleet.able(group.type, group.worker_labels, touches)
        room = self._rooms.get(machine or "")
        if not able:
            self.reasons[group.id] = Reason("worker", "no live worker can do it")
            return 0
        fitting = wanted if room is None else room.most(group.resources, wanted, self.now_s)
        sent = self.flow.send([(self.demand(able), fitting)])[0] if fitting else 0
        if sent:
            self.start(group, sent, self.demand(able), machine, number=number)
            if room is not None:
                room.take(group.resources, sent, self.now_s)
        if sent < fitting:
            self.short[group.id] = self.demand(able)
        elif fitting < wanted and room is not None:
            self.reasons[group.id] = no_room(group, [room])
        return sent

    def _place_anywhere(self, group: Group, wanted: int) -> int:
        """Place each task on machines of its own."""
        rooms = [*self.machines.for_each(group).values()]
        nodes, now_s, asked = group.resources.nodes, self.now_s, group.resources
        if len(rooms) < nodes:
            text = self.machines.no_fit("it", group.anywhere or Requirement(), (), frozenset())
            self.reasons[group.id] = Reason("role", text)
            return 0
        placed, is_short = 0, False
        if nodes > 1:
            while placed < wanted and not is_short:
                open_ = [room for room in self.machines.ranked(rooms, asked) if room.most(asked, 1, now_s)][:nodes]
                if len(open_) < nodes:
                    break
                is_short = not self._start_at(group, open_, 1)
                placed += not is_short
        else:
            for room in self.machines.ranked(rooms, asked):
                if placed == wanted:
                    break
                fitting = room.most(asked, wanted - placed, now_s)
                if fitting:
                    sent = self._start_at(group, [room], fitting)
                    placed, is_short = placed + sent, sent < fitting
        if placed < wanted and not is_short:
            self.reasons[group.id] = no_room(group, rooms)
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
        able = self.fleet.able(group.type, group.worker_labels, tuple(names))
        demand = self.demand(able)
        sent = self.flow.send([(demand, wanted)])[0]
        if sent:
            self.start(group, sent, demand, names[0], tuple(names[1:]))
            for room in rooms:
                room.take(group.resources, sent, self.now_s)
        if sent < wanted:
            self.short[group.id] = demand
        return sent

    def start(
        self,
        group: Group,
        tasks: int,
        demand: int,
        machine: str | None,
        more: tuple[str, ...] = (),
        number: int | None = None,
    ) -> None:
        """So many more tasks of the group start, from that with the number on, or the first that has not started."""
        left = self.left[group.id]
        first = len(group.tasks) - left if number is None else number
        self.runs.add((group, first, tasks, demand, machine, more))
        self.left[group.id] = left - tasks
        if group.may_start is not None or group.counters:
            self.caps.take(group, tasks)

    def start_each(self, groups: Sequence[Group], demands: Sequence[int], machines: Sequence[str]) -> None:
        """One more task of each of these groups starts, on its machine."""
        left, firsts = self.left, list[int]()
        for group in groups:
            rest = left[group.id]
            firsts.append(len(group.tasks) - rest)
            left[group.id] = rest - 1
            if group.may_start is not None or group.counters:
                self.caps.take(group, 1)
        self.runs.add_each(groups, firsts, demands, machines)

    def start_own(self, group: Group, numbers: Sequence[int], demands: Sequence[int], machines: Sequence[str]) -> None:
        """These tasks of a group start, each on the machine that its own role is bound to."""
        self.left[group.id] -= len(numbers)
        if group.may_start is not None or group.counters:
            self.caps.take(group, len(numbers))
        self.runs.add_own(group, numbers, demands, machines)

    def settle(self, group: Group, reason: Reason) -> None:
        """No more of the group can start, whatever else does."""
        self.reasons[group.id] = reason
        self._settled.add(group.id)

    def where(self, group: Group) -> Iterable[Room]:
        """The machines that may do for the group's next task."""
        if group.anywhere is not None:
            return self.machines.for_each(group).values()
        if group.machine is not None:
            return [self._rooms[group.machine]] if group.machine in self._rooms else ()
        return self.roles.where(group)
