"""Ready tasks, in groups that are equal to a scheduler."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from wlmctl.experiment.model import Instance
from wlmctl.task import NOTHING

if TYPE_CHECKING:
    from wlmctl.orchestrator.standing import Standing

#: So many changes of a group are remembered: beyond that it is looked at as a whole.
MOST_CHANGES = 1000


class ReadyGroup:
    """Ready tasks that are equal to a scheduler; ``tasks`` are positions in the experiment, sorted.

    Where each of them waits for a role of its own of the ``each`` called ``own``, ``own_roles`` are these, in the same
    order. ``standing`` is how the roles stand of all of them.
    """

    __slots__ = (
        "_counts",
        "_frozen",
        "alike",
        "changes",
        "counters",
        "instance",
        "key",
        "needs_capacity",
        "own_roles",
        "pack",
        "resources",
        "roles",
        "since_s",
        "standing",
        "tasks",
        "template",
        "type",
        "worker_labels",
    )

    def __init__(
        self, key: str, template: int, task_type: str, instance: Instance, needs_capacity: bool, standing: Standing
    ) -> None:
        self.key, self.template, self.type = key, template, task_type
        #: The same of groups that differ in the values of their open roles alone.
        self.alike = key
        self.instance, self.standing = instance, standing
        self.roles = instance.roles
        self.needs_capacity = needs_capacity
        self.resources = instance.resources if needs_capacity else NOTHING
        self.worker_labels = instance.worker_labels
        self.counters = instance.counters
        #: How many of them may be one job of their machine's queue; None: not looked at yet.
        self.pack: int | None = None
        self.tasks: list[int] = []
        self.own_roles: list[str] = []
        #: By own role, how many of the tasks wait for it.
        self._counts: dict[str, int] = {}
        #: What came to the own roles and left them, place by place (None: left), for whoever keeps something beside
        #: them; None: nobody does, or it is too much.
        self.changes: list[tuple[int, str | None]] | None = None
        #: Tasks and own roles as they were shown last; None: they have changed since.
        self._frozen: tuple[Sequence[int], Sequence[str]] | None = None
        self.since_s = 0.0

    @property
    def own(self) -> str | None:
        """The role, as it is declared, of which each of the tasks waits for its own."""
        return self.standing.own

    def put(self, idx: int, since_s: float, role: str = "") -> None:
        """The task is ready: nearly always it comes last. ``role``: its own one."""
        self.since_s = min(self.since_s, since_s) if self.tasks else since_s
        where = len(self.tasks)
        if self.tasks and self.tasks[-1] > idx:
            where = bisect.bisect(self.tasks, idx)
        self.tasks.insert(where, idx)
        if self.own is not None:
            self.own_roles.insert(where, role)
            self._counts[role] = self._counts.get(role, 0) + 1
            self._changed(where, role)

    def remove(self, idx: int) -> None:
        """The task is ready no longer: nearly always the first."""
        where = bisect.bisect_left(self.tasks, idx)
        del self.tasks[where]
        if self.own is not None:
            role = self.own_roles.pop(where)
            self._counts[role] -= 1
            if not self._counts[role]:
                del self._counts[role]
            self._changed(where, None)

    def take(self, roles: Collection[str]) -> list[int]:
        """The tasks whose own roles are among these; they leave the group."""
        gone = {role for role in roles if role in self._counts}
        if not gone:  # mostly: what is bound starts at once
            return []
        tasks, own = self.tasks, self.own_roles
        taken = [idx for idx, role in zip(tasks, own, strict=True) if role in gone]
        self.tasks = [idx for idx, role in zip(tasks, own, strict=True) if role not in gone]
        self.own_roles = [role for role in own if role not in gone]
        for role in gone:
            del self._counts[role]
        self._frozen = self.changes = None
        return taken

    def clear(self) -> list[int]:
        """All tasks; they leave the group."""
        tasks, self.tasks, self.own_roles = self.tasks, [], []
        self._counts, self._frozen, self.changes = {}, None, None
        return tasks

    def _changed(self, where: int, role: str | None) -> None:
        self._frozen = None
        if self.changes is not None:
            self.changes.append((where, role))
            if len(self.changes) > MOST_CHANGES:
                self.changes = None

    @property
    def is_one_each(self) -> bool:
        """True where no two of the tasks wait for the same role."""
        return len(self._counts) == len(self.tasks)

    def has(self, role: str) -> bool:
        """True where it is the own role of a task."""
        return role in self._counts

    def shown(self, most: int | None) -> tuple[Sequence[int], Sequence[str]]:
        """The first tasks and their own roles, as nobody changes them; as long as they are the same, the same ones."""
        if self.own is None:
            return self.tasks if most is None else self.tasks[:most], ()
        if most is not None and most < len(self.tasks):
            return tuple(self.tasks[:most]), tuple(self.own_roles[:most])
        if self._frozen is None:
            self._frozen = tuple(self.tasks), tuple(self.own_roles)
        return self._frozen
