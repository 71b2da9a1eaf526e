"""Ready tasks, in groups that are equal to a scheduler."""

from __future__ import annotations

import bisect

from wlmctl.experiment.model import Instance
from wlmctl.task import Resources

#: What a step that is no job takes of its machine.
NOTHING = Resources(cpus=0)


class ReadyGroup:
    """Ready tasks that are equal to a scheduler; ``tasks`` are positions in the experiment, sorted."""

    __slots__ = (
        "counters",
        "key",
        "needs_capacity",
        "pack",
        "resources",
        "roles",
        "since_s",
        "tasks",
        "template",
        "type",
        "worker_labels",
    )

    def __init__(self, key: str, template: int, task_type: str, instance: Instance, needs_capacity: bool) -> None:
        self.key, self.template, self.type = key, template, task_type
        self.roles = instance.roles
        self.needs_capacity = needs_capacity
        self.resources = instance.resources if needs_capacity else NOTHING
        self.worker_labels = instance.worker_labels
        self.counters = instance.counters
        #: How many of them may be one job of their machine's queue; None: not looked at yet.
        self.pack: int | None = None
        self.tasks: list[int] = []
        self.since_s = 0.0

    def put(self, idx: int, now_s: float) -> None:
        """The task is ready: nearly always it comes last."""
        if not self.tasks:
            self.since_s = now_s
        if self.tasks and self.tasks[-1] > idx:
            bisect.insort(self.tasks, idx)
        else:
            self.tasks.append(idx)

    def remove(self, idx: int) -> None:
        """The task is ready no longer: nearly always the first."""
        del self.tasks[bisect.bisect_left(self.tasks, idx)]
