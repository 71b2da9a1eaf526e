"""Which machines may do for tasks that have none yet, the best first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wlmctl.machine import Machine, Requirement
from wlmctl.scheduler import Group, MachineView, RoleNeed, UnboundRole
from wlmctl.task import Resources
from wlmctl_scheduler_matchmaking.prices import machine_prices
from wlmctl_scheduler_matchmaking.rooms import Room
from wlmctl_scheduler_matchmaking.workers import Fleet


class Machines:
    """The machines of one decision."""

    def __init__(self, rooms: Mapping[str, Room], fleet: Fleet, *, is_spread: bool) -> None:
        self._rooms, self._fleet, self._is_spread = rooms, fleet, is_spread
        self._names = sorted(rooms)
        self._prices: dict[str, int] | None = None
        self._misfits: dict[Requirement, dict[str, str | None]] = {}
        self._known: dict[tuple[object, ...], list[str]] = {}

    def for_each(self, group: Group) -> list[str]:
        """Where a task of a group that may go anywhere could ever run, the best first."""
        requires = group.anywhere or Requirement()
        key = (requires, group.type, group.resources, group.worker_labels)
        names = self._known.get(key)
        if names is None:
            need = RoleNeed(group.type, group.resources, group.worker_labels)
            names = self._known[key] = self._ranked(
                [name for name in self._names if self._why_not(name, requires, (need,)) is None], group.resources
            )
        return names

    def for_role(self, role: UnboundRole, groups: Sequence[Group], near: frozenset[str]) -> list[str]:
        """Where the role could be bound with all of its tasks in view, the best first; ``near`` has data of them."""
        needs = (*role.needs, *(RoleNeed(each.type, each.resources, each.worker_labels) for each in groups))
        key = (role.requires, needs, role.barred)
        names = self._known.get(key)
        if names is None:
            largest = max((need.resources for need in needs), key=lambda asked: (asked.cpus, asked.memory_bytes))
            names = self._known[key] = self._ranked(
                [
                    name
                    for name in self._names
                    if name not in role.barred and self._why_not(name, role.requires, needs) is None
                ],
                largest,
            )
        if not near and not role.data_bytes:
            return names
        return sorted(names, key=lambda name: (-role.data_bytes.get(name, 0), name not in near))

    def no_fit(self, what: str, requires: Requirement, needs: Sequence[RoleNeed], barred: frozenset[str]) -> str:
        """Why no machine fits, as a sentence."""
        whys = [
            f"{name} {self._why_not(name, requires, needs) or 'fits'}" for name in self._names if name not in barred
        ]
        more = f"; and {len(whys) - 3} more" if len(whys) > 3 else ""
        return f"no machine fits {what}: {'; '.join(whys[:3]) or 'there is none'}{more}"

    def _why_not(self, name: str, requires: Requirement, needs: Sequence[RoleNeed]) -> str | None:
        room = self._rooms[name]
        if room.view.held:
            return "is held"
        misfits = self._misfits.setdefault(requires, {})
        if name not in misfits:
            misfits[name] = requires.misfit(_offered(room.view))
        if misfits[name] is not None:
            return misfits[name]
        for need in needs:
            if not room.can_ever(need.resources):
                return f"is too small for a task that asks for {asks(need.resources)}"
            if not self._fleet.able(need.type, need.worker_labels, (name,)):
                labels = f" with the labels {', '.join(need.worker_labels)}" if need.worker_labels else ""
                return f"is reached by no live worker for {need.type}{labels}"
        return None

    def _ranked(self, names: list[str], asked: Resources) -> list[str]:
        """The cheapest machines first, and among equals the fullest (or the emptiest)."""
        if self._prices is None:
            self._prices = machine_prices({name: room.view for name, room in self._rooms.items()})
        prices, rooms, sign = self._prices, self._rooms, -1 if self._is_spread else 1

        def rank(name: str) -> tuple[float, ...]:
            cpus, memory, gpus = rooms[name].left
            return sign * gpus if asked.gpus else 0, prices[name], sign * cpus, sign * memory

        return sorted(names, key=rank)


def asks(asked: Resources) -> str:
    """What a task asks for, in words."""
    parts = [f"{asked.cpus} cpus"]
    if asked.memory_bytes:
        parts.append(f"{asked.memory_bytes} bytes of memory")
    if asked.gpus:
        parts.append(f"{asked.gpus} gpus")
    return ", ".join(parts)


def _offered(view: MachineView) -> Machine:
    return Machine(view.name, labels=view.labels, cpus=view.cpus, memory_bytes=view.memory_bytes, gpus=view.gpus)
