"""When the scheduler is asked: as soon as something can be placed, and never twice about the same.

A look at what is ready costs little, a decision may cost much. No decision is made where the check would refuse every
task, nor where all that can be placed is as it was when the scheduler last let it wait. What arrives while a decision
is made is taken up together by the next look.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from wlmctl.orchestrator.capacity import Capacity
from wlmctl.orchestrator.checking import Checked
from wlmctl.scheduler import Group, MachineView, Reason, Snapshot

#: Seconds after which a scheduler that lets tasks wait which could be placed is asked again: they have grown older.
AGED_S = 60.0

#: Seconds after which a scheduler that wants to be asked again is asked at the earliest.
SOONEST_S = 0.05

#: In place of what blocks a group: its reason was given while some of it could be placed.
_OPEN = ""


class Gate:
    """Remembers the last decision, to see whether the next one could be another."""

    def __init__(self) -> None:
        #: By group: what blocked it when its reason was given.
        self._blocks: dict[str, str] = {}
        self._reasons: Mapping[str, Reason] = {}
        #: What could be placed and was not, with what it could be placed on; None: something was placed.
        self._left: Any = None
        self._aged_s = self._again_s = math.inf

    def is_open(self, snapshot: Snapshot, capacity: Capacity, now: float) -> bool:
        """True when the scheduler is to be asked."""
        slots = _Slots(snapshot, capacity)
        blocks = {group.id: _block(group, snapshot, slots, capacity) for group in snapshot.groups}
        left = _left(snapshot, blocks)
        if left is None:
            self._left, self._aged_s = None, math.inf
        is_told = self._is_told(blocks)
        is_open = now >= self._again_s or not is_told
        if left is not None and (left != self._left or now >= self._aged_s):
            is_open = True
        if is_open:
            self._blocks = {key: block or _OPEN for key, block in blocks.items()}
            self._left = left
        return is_open

    def _is_told(self, blocks: Mapping[str, str | None]) -> bool:
        """True when each group that is blocked has a reason, and is blocked by the same as then."""
        is_told = True
        for key, block in blocks.items():
            if block is None:
                continue
            known = self._blocks.get(key)
            if known == _OPEN and key in self._reasons:
                self._blocks[key] = block
            elif known != block:
                is_told = False
        return is_told

    def decided(self, checked: Checked, now: float) -> None:
        """The scheduler, or fifo in its place, was asked."""
        self._reasons = checked.reasons
        if checked.placed or checked.bindings:
            self._left = None
        self._aged_s = now + AGED_S if self._left is not None else math.inf
        wanted_s = checked.look_again_s
        self._again_s = now + max(SOONEST_S, wanted_s) if wanted_s is not None else math.inf

    def reasons(self, snapshot: Snapshot) -> dict[str, Reason]:
        """What was last said of the groups that still wait."""
        return {group.id: self._reasons[group.id] for group in snapshot.groups if group.id in self._reasons}

    @property
    def next_s(self) -> float | None:
        """When the scheduler is to be asked although nothing happens, on the monotonic clock."""
        due = min(self._aged_s, self._again_s)
        return due if math.isfinite(due) else None

    def reset(self) -> None:
        """Nothing is ready: nothing is to be asked."""
        self._left, self._aged_s, self._again_s = None, math.inf, math.inf
        self._blocks, self._reasons = {}, {}


def _left(snapshot: Snapshot, blocks: Mapping[str, str | None]) -> Any:
    """What can be placed and what it can be placed on, to be compared; None where nothing can be."""
    groups = [
        (group.id, len(group.tasks), group.tasks[0], group.priority, group.may_start)
        for group in snapshot.groups
        if blocks[group.id] is None
    ]
    if not groups:
        return None
    return groups, snapshot.workers, snapshot.machines, snapshot.bindings, snapshot.counters


class _Slots:
    """Whether a worker that can do a group's tasks is there, and has a free slot: found once for equal groups."""

    def __init__(self, snapshot: Snapshot, capacity: Capacity) -> None:
        self._capacity = capacity
        self._free = {worker.id for worker in snapshot.workers if worker.free_slots > 0}
        self._known: dict[tuple[object, ...], str | None] = {}

    def block(self, group: Group) -> str | None:
        """``worker`` where nobody can do it, ``slots`` where all who can are busy, else None."""
        key = group.type, group.worker_labels, group.touches
        if key not in self._known:
            able = self._capacity.able(group.id)
            is_free = bool(self._free) and any(member.id in self._free for member in able)
            self._known[key] = None if is_free else "slots" if able else "worker"
        return self._known[key]


def _block(group: Group, snapshot: Snapshot, slots: _Slots, capacity: Capacity) -> str | None:
    """Why the check would refuse every task of the group, as one word; None where it would not."""
    if group.unbound is not None:
        return None
    if group.may_start is not None and group.may_start < 1:
        return "max_running"
    views = snapshot.machines
    if any(name in views and views[name].held for name in group.touches):
        return "held"
    if (block := slots.block(group)) is not None:
        return block
    if capacity.is_early(group.id):
        return "slots"
    if any(snapshot.counters.get(name, 0) < amount for name, amount in group.counters):
        return "counter"
    view = views.get(group.machine or "")
    return "capacity" if view is not None and group.resources.cpus and not _has_room(view, group) else None


def _has_room(view: MachineView, group: Group) -> bool:
    if view.jobs_left is not None and view.jobs_left < 1:
        return False
    if view.queueing:
        return True
    wanted = group.resources
    return all(
        left is None or left >= asked
        for left, asked in (
            (view.free_cpus, wanted.cpus), (view.free_memory_bytes, wanted.memory_bytes), (view.free_gpus, wanted.gpus),
        )
    )  # fmt: skip
