"""The groups of one experiment's ready tasks: how they come together, and part again as roles are bound."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING

from wlmctl.experiment.model import Instance
from wlmctl.orchestrator.ready import ReadyGroup
from wlmctl.orchestrator.standing import standing

if TYPE_CHECKING:
    from wlmctl.orchestrator.work import Work


class Groups(dict[str, ReadyGroup]):
    """The groups, by their names.

    A role of an ``each`` that a task waits for beside other roles is ``apart`` from the class: whoever waits for it is
    in a group by itself, so that a scheduler is shown it once.
    """

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work
        #: The group's name of templates whose tasks are all equal.
        self._names: dict[int, tuple[Instance, str]] = {}
        self._apart = set[str]()
        #: Those of them whose tasks may still be in a class.
        self._parting = set[str]()

    def add(self, idx: int, now_s: float) -> None:
        """The task is ready: put it into its group, in order."""
        template, instance = self._work.place(idx)[0], self._work.instance(idx)
        known = self._names.get(template)
        group = self.get(known[1]) if known is not None and known[0] is instance else None
        if group is not None:
            group.put(idx, now_s)
        else:
            self._put(idx, template, instance, now_s)

    def forget_empty(self) -> None:
        """Groups without tasks are made again when they get one: a long graph has very many in the course of time."""
        for key in [key for key, group in self.items() if not group.tasks]:
            del self[key]

    def part(self) -> None:
        """Take out of the classes whose roles are apart since the last call."""
        roles, self._parting = self._parting, set()
        if roles:
            self._put_again([(group, group.take(roles)) for group in self.values() if group.own is not None])

    def bound(self, roles: Collection[str]) -> None:
        """These roles have got a machine: the tasks of theirs that still wait are put where they belong now."""
        keys = set(roles)
        waiting = {key: waits for key, group in self.items() if (waits := group.standing.waits) and group.tasks}
        self._apart = {
            role for waits in waiting.values() if len(waits) > 1 and keys.isdisjoint(waits) for role in waits
        }
        changed = [
            self[key]
            for key, waits in waiting.items()
            if not keys.isdisjoint(waits) or (len(waits) == 1 and waits[0] not in self._apart)
        ]
        parted = [(group, group.take(keys)) for group in self.values() if group.own is not None]
        self._put_again([*parted, *[(group, group.clear()) for group in changed]])

    def _put_again(self, parted: Iterable[tuple[ReadyGroup, Iterable[int]]]) -> None:
        for group, tasks in parted:
            for idx in tasks:
                self._put(idx, group.template, group.instance, group.since_s)

    def _put(self, idx: int, template: int, instance: Instance, since_s: float) -> None:
        """``instance``: what the task asks for, or what another one asks that asks for the same."""
        work = self._work
        how, own = standing(
            instance.roles,
            work.experiment.roles,
            partial(work.role_key, idx),
            work.bindings,
            work.role_needs,
            self._apart,
        )
        key = self._name(idx, template, instance, how.names)
        group = self.get(key)
        if group is None:
            task_type, defers = work.templates[template].type, work.defers[template]
            group = self[key] = ReadyGroup(key, template, task_type, instance, defers, how)
            group.alike = self._name(idx, template, instance, how.alike) if how.waits else key
        group.put(idx, since_s, own)
        if len(how.waits) > 1 and not self._apart.issuperset(how.waits):
            self._parting.update(role for role in how.waits if role not in self._apart)
            self._apart.update(how.waits)

    def _name(self, idx: int, template: int, instance: Instance, names: tuple[str, ...]) -> str:
        """The name of the group of ready tasks that a scheduler may take for one another."""
        resources = instance.resources
        key = (
            f"{self._work.seq}.{template}|{','.join(names)}|{resources.cpus},{resources.memory_bytes},{resources.gpus},"
            f"{resources.nodes}|{','.join(instance.worker_labels)}"
        )
        if instance.counters:
            key += f"|{','.join(f'{name}={amount}' for name, amount in instance.counters)}"
        if idx in self._work.asked:
            return f"{key}|{resources.walltime_s}"
        if names == instance.roles:  # and none of them depends on the task's values
            self._names[template] = instance, key
        return key
