"""First in, first out, by priority: what fits starts, and a group that does not fit holds up no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wlmctl.errors import ConfigError
from wlmctl.quantities import parse_duration
from wlmctl.room import Room
from wlmctl.scheduler import Assignment, Decision, Group, Snapshot

#: Seconds of waiting after which a group counts as one priority level higher, so that nothing starves.
AGEING_STEP_S = 3600.0


class Fifo:
    """The policy. Options: ``ageing_step``, a duration (0: no ageing)."""

    by_class = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        unknown = sorted(set(options) - {"ageing_step"})
        if unknown:
            raise ConfigError(f"scheduler_options.{unknown[0]}: unknown option of fifo, expected ageing_step")
        step = options.get("ageing_step", AGEING_STEP_S)
        try:
            self._step_s = parse_duration(str(step))
        except ValueError as error:
            raise ConfigError(f"scheduler_options.ageing_step: found {step!r}, expected {error}") from error

    def assign(self, snapshot: Snapshot) -> Decision:
        """Bind each open role to the first machine that fits, those of an ``each`` to all that fit in turn; then place
        groups by priority and age.
        """
        room, assignments = Room(snapshot), list[Assignment]()
        reasons = dict(room.unfit)
        for group in sorted(snapshot.groups, key=self._rank):
            if group.unbound is not None:
                continue  # its role is bound by this decision, if at all: it is placed by the next one
            workers, reason = room.take(group, len(group.tasks))
            assignments += [Assignment(task, group.machine) for task in group.tasks[: len(workers)]]
            if reason is not None:
                reasons[group.id] = reason
        return Decision(assignments, room.bindings, reasons=reasons)

    def _rank(self, group: Group) -> tuple[float, int, str]:
        levels = int(group.age_s // self._step_s) if self._step_s else 0
        return -min(9, group.priority + levels), group.order, group.tasks[0] if not group.order else ""
