"""Why groups wait, in words: the saturated cut of those that want a slot, and machines without room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from wlmctl.scheduler import Group, Reason
from wlmctl_scheduler_matchmaking.flow import Flow, bits
from wlmctl_scheduler_matchmaking.machines import asks
from wlmctl_scheduler_matchmaking.rooms import Room
from wlmctl_scheduler_matchmaking.workers import Fleet

#: So many workers are named.
_NAMED = 3


def for_want_of_slots(short: Mapping[str, int], flow: Flow, fleet: Fleet) -> dict[str, Reason]:
    """By group that is short of slots (with its demand class): which workers are full, and what one slot changes."""
    known = dict[int, Reason]()
    for demand, reach in flow.reaches(set(short.values())).items():
        known[demand] = _reason(flow.able[demand], reach, flow, fleet)
    return {group: known[demand] for group, demand in short.items()}


def _reason(able: int, reach: int, flow: Flow, fleet: Fleet) -> Reason:
    slots = fleet.slots_of(reach)
    names = [fleet.classes[number].first for number in islice(bits(able), _NAMED)]
    many = fleet.count(able) - len(names)
    who = f"every worker that can do it is busy ({', '.join(names)}{f' and {many} more' if many else ''})"
    if reach & flow.free:
        return Reason("slots", f"{who}; the search for a way to make room was given up at its limit")
    if not slots:
        return Reason("slots", f"{who}: no slot is free; one more slot there would start one more")
    others = fleet.count(reach) - fleet.count(able)
    way = f" or on {others} others, to which tasks in its way could move," if others else ""
    return Reason(
        "slots",
        f"{who}: the {slots} slots that were free went to tasks of its own or a higher band, or to earlier ones;"
        f" one more slot there{way} would start one more",
    )


def no_room(group: Group, rooms: Sequence[Room]) -> Reason:
    """Why there is no room on any of these machines."""
    if len(rooms) != 1:
        return crowded(group, len(rooms))
    room, asked = rooms[0], asks(group.resources)
    if not room.can_ever(group.resources):
        return Reason("capacity", f"machine {room.view.name} is too small for {asked}")
    if room.kept is not None and room.kept.task not in group.tasks[:1]:
        return Reason("reserved", f"machine {room.view.name} is kept for {room.kept.task}, which has waited longer")
    if room.jobs < 1:
        return Reason("capacity", f"machine {room.view.name} takes no more jobs now")
    return Reason("capacity", f"machine {room.view.name} has no room for {asked}")


def crowded(group: Group, machines: int) -> Reason:
    """Why there is no room on any of so many machines."""
    return Reason("capacity", f"none of the {machines} machines that fit has room for {asks(group.resources)}")
