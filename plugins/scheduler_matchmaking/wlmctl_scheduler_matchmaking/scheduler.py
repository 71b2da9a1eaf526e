"""The policy ``matchmaking``: from a snapshot to a decision."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from wlmctl.scheduler import Decision, Group, Reason, Reservation, Snapshot
from wlmctl_scheduler_matchmaking.assigned import assigned
from wlmctl_scheduler_matchmaking.flow import Flow
from wlmctl_scheduler_matchmaking.machines import Machines
from wlmctl_scheduler_matchmaking.matching import Matching
from wlmctl_scheduler_matchmaking.order import Bands, Shares, level
from wlmctl_scheduler_matchmaking.packing import is_packable
from wlmctl_scheduler_matchmaking.prices import worker_prices
from wlmctl_scheduler_matchmaking.reasons import for_want_of_slots
from wlmctl_scheduler_matchmaking.reserving import patience_s, reserve
from wlmctl_scheduler_matchmaking.rooms import Rooms, binds_nothing
from wlmctl_scheduler_matchmaking.settings import Settings
from wlmctl_scheduler_matchmaking.slots import start_by_slots
from wlmctl_scheduler_matchmaking.solver import packs_from, solver
from wlmctl_scheduler_matchmaking.together import bind_together
from wlmctl_scheduler_matchmaking.workers import Fleet


class Matchmaking:
    """The policy. Its options are those of ``Settings``."""

    by_class = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._settings = Settings.of(options)
        self._solver = solver(self._settings.solver)
        self._packs_from = packs_from(self._settings.solver)

    def assign(self, snapshot: Snapshot) -> Decision:
        """As many tasks as possible for every prefix of bands, then at least cost, then by order of submission."""
        fleet, reasons = Fleet(snapshot.workers), dict[str, Reason]()
        groups = _startable(snapshot, fleet, reasons)
        groups.sort(key=attrgetter("id"))
        groups.sort(key=attrgetter("order"))  # two sorts by one key each are quicker than one by pairs
        bands = defaultdict[int, list[Group]](list)
        for group in groups:
            bands[level(group, snapshot.now_s, self._settings)].append(group)
        in_order = sorted(bands.items(), reverse=True)
        matching, reservations = self._best(snapshot, fleet, groups, in_order)
        reasons |= for_want_of_slots(matching.short, matching.flow, fleet)
        reasons |= matching.reasons
        waiting = {name: reason for name, reason in reasons.items() if matching.left[name]}
        due = [each.from_s for each in reservations if each.from_s is not None]
        again = min(due, default=math.inf) - snapshot.now_s
        return Decision(
            assigned(matching.runs, matching.flow, fleet, self._settings.placement),
            matching.roles.bindings,
            reservations,
            waiting,
            again if 0 < again < math.inf else None,
        )

    def _best(
        self, snapshot: Snapshot, fleet: Fleet, groups: Sequence[Group], bands: Bands
    ) -> tuple[Matching, Sequence[Reservation]]:
        """Match one group after the other, and many at once where that may be better; the better of both."""
        if self._binds_many(snapshot, fleet):
            together = self._matched(snapshot, fleet, groups, bands, packs=True)
            if together[0].is_best:
                return together
            alone = self._matched(snapshot, fleet, groups, bands)
        else:
            alone = self._matched(snapshot, fleet, groups, bands)
            if not self._is_worth_packing(snapshot, alone[0], groups):
                return alone
            together = self._matched(snapshot, fleet, groups, bands, packs=True)
        return max((alone, together), key=lambda each: _worth(each[0], bands))

    def _binds_many(self, snapshot: Snapshot, fleet: Fleet) -> bool:
        """Whether so many roles may be bound now that it is best to look at all of them first."""
        least = self._packs_from
        roles = len(snapshot.roles) + sum([len(alike.roles) for alike in snapshot.role_classes])
        if least is None or not roles or min(roles, fleet.slots) < least:
            return False
        cpus = [view.free_cpus for view in snapshot.machines.values() if not view.held]
        return None in cpus or sum([each or 0 for each in cpus]) >= least

    def _matched(
        self, snapshot: Snapshot, fleet: Fleet, groups: Sequence[Group], bands: Bands, *, packs: bool = False
    ) -> tuple[Matching, Sequence[Reservation]]:
        """Match all bands, the highest first; ``packs``: with many tasks on many machines in view at once."""
        settings = self._settings
        rooms = Rooms(snapshot.machines)
        demands = ((fleet.of_groups[group.id], len(group.tasks)) for group in groups)
        flow = Flow([each.slots for each in fleet.classes], worker_prices(fleet, demands), settings.steps)
        machines = Machines(snapshot.machines, rooms, fleet, is_spread=settings.placement == "spread")
        shares = Shares(snapshot, fleet.slots) if settings.fair else None
        matching = Matching(snapshot, fleet, flow, machines, shares, packs=packs)
        if binds_nothing(snapshot, rooms, fleet.slots):
            start_by_slots(matching, bands, shares, fleet.slots, self._solver)
            return matching, ()
        reservations = self._reserve(snapshot, groups, matching)
        matching.is_best = packs and bind_together(matching, bands, shares, is_last=True)
        for band, members in () if matching.is_best else bands:
            if packs and len(bands) > 1:
                bind_together(matching, [(band, members)], shares, is_last=False)
            matching.place(band, members)
        return matching, reservations

    def _is_worth_packing(self, snapshot: Snapshot, matching: Matching, groups: Sequence[Group]) -> bool:
        """Whether many tasks that may choose a machine were placed, and others found no room or had data elsewhere."""
        choosing = [group for group in groups if group.unbound is not None or is_packable(group)]
        return (
            self._packs_from is not None
            and sum(len(group.tasks) - matching.left[group.id] for group in choosing) >= self._packs_from
            and (
                any(matching.left[group.id] and group.id not in matching.short for group in choosing)
                or any(role.data_bytes for role in snapshot.roles)
                or any(len(alike.data.roles) for alike in snapshot.role_classes)
            )
        )

    def _reserve(self, snapshot: Snapshot, groups: Sequence[Group], matching: Matching) -> Sequence[Reservation]:
        """Of the tasks that waited too long, start the oldest if it fits, and keep a machine for one that does not."""
        after_s = self._settings.reserve_after_s
        old = [
            group
            for group in groups
            if after_s
            and group.age_s >= after_s / 2  # nobody's patience ends before
            and group.age_s >= patience_s(group, after_s)
            and group.resources.cpus
            and group.may_start != 0
        ]
        if not old:
            return ()
        old.sort(key=lambda group: (-group.age_s, *_order(group)))
        matching.place_some(old[0], 1)
        blocked = [group for group in old[:1] if matching.left[group.id] == len(group.tasks)]
        return reserve(blocked, matching.where, snapshot.running, snapshot.reservations, snapshot.now_s)


_order = attrgetter("order", "id")


def _worth(matching: Matching, bands: Bands) -> tuple[list[int], int]:
    """How many tasks of each band start, and how much data of roles is where they go."""
    started = [sum(len(group.tasks) - matching.left[group.id] for group in members) for _, members in bands]
    return started, matching.roles.local_bytes


def _startable(snapshot: Snapshot, fleet: Fleet, reasons: dict[str, Reason]) -> list[Group]:
    """The groups of which a task could start but for what others take; the reasons of the others are noted."""
    held = {name for name, view in snapshot.machines.items() if view.held}
    found = list[Group]()
    fleet.look_at(snapshot.groups)
    for group in snapshot.groups:
        if held and not held.isdisjoint(group.touches):
            name = next(name for name in group.touches if name in held)
            reasons[group.id] = Reason("held", f"machine {name} is held")
        elif not fleet.of_groups[group.id]:
            reasons[group.id] = Reason("worker", "no live worker can do it")
        else:
            found.append(group)
    return found
