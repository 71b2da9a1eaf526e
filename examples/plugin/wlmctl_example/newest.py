"""The scheduler ``newest``: by priority, and of one priority the newest experiment first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wlmctl.errors import ConfigError
from wlmctl.room import Room
from wlmctl.scheduler import Assignment, Decision, Reason, Snapshot


class Newest:
    """A pure function: all that it counts lives in the ``Room`` of one call."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        if options:
            raise ConfigError(f"scheduler_options: {sorted(options)[0]}: newest has no options")

    def assign(self, snapshot: Snapshot) -> Decision:
        room, assignments, reasons = Room(snapshot), list[Assignment](), dict[str, Reason]()
        for group in sorted(snapshot.groups, key=lambda group: (-group.priority, -group.order)):
            workers, reason = room.take(group, len(group.tasks))
            places = zip(group.tasks, workers, strict=False)
            assignments += [Assignment(task, room.machine(group), worker) for task, worker in places]
            if reason is not None:
                reasons[group.id] = reason
        return Decision(assignments, room.bindings, reasons=reasons)
