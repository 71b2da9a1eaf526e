"""The policy ``matchmaking``: from a snapshot to a decision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from wlmctl.scheduler import Decision, Group, Reason, Reservation, Snapshot
from wlmctl_scheduler_matchmaking.assigned import assigned
from wlmctl_scheduler_matchmaking.flow import Flow
from wlmctl_scheduler_matchmaking.machines import Machines
from wlmctl_scheduler_matchmaking.matching import Matching
from wlmctl_scheduler_matchmaking.order import Shares, level
from wlmctl_scheduler_matchmaking.prices import worker_prices
from wlmctl_scheduler_matchmaking.reasons import for_want_of_slots
from wlmctl_scheduler_matchmaking.reserving import reserve
from wlmctl_scheduler_matchmaking.rooms import Room, binds_nothing
from wlmctl_scheduler_matchmaking.settings import Settings
from wlmctl_scheduler_matchmaking.slots import start_by_slots
from wlmctl_scheduler_matchmaking.solver import solver
from wlmctl_scheduler_matchmaking.workers import Fleet


class Matchmaking:
    """The policy. Its options are those of ``Settings``."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._settings = Settings.of(options)
        self._solver = solver(self._settings.solver)

    def assign(self, snapshot: Snapshot) -> Decision:
        """As many tasks as possible for every prefix of bands, then at least cost, then by order of submission."""
        settings = self._settings
        fleet = Fleet(snapshot.workers)
        rooms = {name: Room(view) for name, view in snapshot.machines.items()}
        reasons = dict[str, Reason]()
        groups = [group for group in snapshot.groups if _may_start(group, fleet, rooms, reasons)]
        demands = [(fleet.able(group.type, group.worker_labels, group.touches), len(group.tasks)) for group in groups]
        flow = Flow([each.slots for each in fleet.classes], worker_prices(fleet, demands), settings.steps)
        machines = Machines(rooms, fleet, is_spread=settings.placement == "spread")
        shares = Shares(snapshot, fleet.slots) if settings.fair else None
        matching = Matching(snapshot, fleet, flow, rooms, machines, shares)
        by_slots_alone = binds_nothing(snapshot, rooms, fleet.slots)
        reservations = () if by_slots_alone else self._reserve(snapshot, groups, matching)
        bands = dict[int, list[Group]]()
        for group in sorted(groups, key=_order):
            bands.setdefault(level(group, snapshot.now_s, settings), []).append(group)
        in_order = sorted(bands.items(), reverse=True)
        if by_slots_alone:
            start_by_slots(matching, in_order, shares, fleet.slots, self._solver)
        else:
            for band, members in in_order:
                matching.place(band, members)
        reasons |= for_want_of_slots(matching.short, matching.flow, fleet)
        reasons |= matching.reasons
        waiting = {name: reason for name, reason in reasons.items() if matching.left[name]}
        due = [each.from_s for each in reservations if each.from_s is not None]
        again = min(due, default=math.inf) - snapshot.now_s
        return Decision(
            assigned(matching.runs, matching.flow, fleet, settings.placement),
            matching.bindings,
            reservations,
            waiting,
            again if 0 < again < math.inf else None,
        )

    def _reserve(self, snapshot: Snapshot, groups: Sequence[Group], matching: Matching) -> Sequence[Reservation]:
        """Of the tasks that waited too long, start the oldest if it fits, and keep a machine for one that does not."""
        patience_s = self._settings.reserve_after_s
        old = [group for group in groups if group.age_s >= patience_s and group.resources.cpus and group.may_start != 0]
        if not patience_s or not old:
            return ()
        old.sort(key=lambda group: (-group.age_s, *_order(group)))
        matching.place_some(old[0], 1)
        blocked = [group for group in old[:1] if matching.left[group.id] == len(group.tasks)]
        return reserve(blocked, matching.where, snapshot.running, snapshot.reservations, snapshot.now_s)


def _order(group: Group) -> tuple[int, str]:
    return group.order, group.id


def _may_start(group: Group, fleet: Fleet, rooms: Mapping[str, Room], reasons: dict[str, Reason]) -> bool:
    """Whether a task of the group could start but for what others take; else its reason is noted."""
    for name in group.touches:
        if name in rooms and rooms[name].view.held:
            reasons[group.id] = Reason("held", f"machine {name} is held")
            return False
    if not fleet.able(group.type, group.worker_labels, group.touches):
        reasons[group.id] = Reason("worker", "no live worker can do it")
        return False
    return True
