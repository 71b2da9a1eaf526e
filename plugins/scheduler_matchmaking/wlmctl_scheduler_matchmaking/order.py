"""Who goes before whom: bands by priority, age and deadline; within one, those who have least first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from wlmctl.scheduler import Group, MachineView, Snapshot, Usage
from wlmctl_scheduler_matchmaking.settings import Settings

#: The band of what has waited so long that nothing but the order of submission counts any more.
STARVING = 20

#: The band of an experiment whose deadline is near: above every priority that can be given.
URGENT = 10

#: Groups by the level of their band, the highest first.
Bands = Sequence[tuple[int, Sequence[Group]]]

_NOTHING = Usage()


def level(group: Group, now_s: float, settings: Settings) -> int:
    """The group's band; higher ones go first."""
    found, step_s = group.priority, settings.ageing_step_s
    if step_s and group.age_s >= step_s:
        # a wait weighs less on a task that takes long: else all are soon of one age where waits are long
        found += int(group.age_s // max(step_s, group.resources.walltime_s or 0.0))
    if group.deadline_s is not None and settings.deadline_margin_s:
        slack_s = group.deadline_s - now_s - (group.resources.walltime_s or 0.0)
        margins = slack_s / settings.deadline_margin_s
        if margins < 1:
            found = max(found, URGENT)
        elif margins < 8:
            found += 3 - int(math.log2(margins))
    return found if found < STARVING else STARVING


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose tasks a group has."""

    project: str
    user: str


def owner(group: Group) -> Owner:
    """The group's owner; all groups of unknown users have one."""
    return Owner(group.project or "", group.user or "")


class Shares:
    """What each owner has of the machines: the largest of its shares of cpus, memory and gpus (dominant share).

    A task that takes nothing of a machine counts as a part of the free ``slots``.
    """

    def __init__(self, snapshot: Snapshot, slots: int) -> None:
        views = snapshot.machines.values()
        self._cpus = _total(views, "cpus") or 1.0
        self._memory = _total(views, "memory_bytes") or math.inf
        self._gpus = _total(views, "gpus") or math.inf
        self._slots = max(1, slots)
        self._users, self._projects = snapshot.usage_by_user, snapshot.usage_by_project
        self._known: dict[Owner, tuple[float, float]] = {}

    def of(self, whose: Owner) -> tuple[float, float]:
        """The owner's dominant share now, and its decayed usage in cpu-seconds; of user or project, what is more."""
        known = self._known.get(whose)
        if known is None:
            usages = (self._users.get(whose.user, _NOTHING), self._projects.get(whose.project, _NOTHING))
            known = self._known[whose] = (
                max(self._dominant(each.running_cpus, each.running_memory_bytes, each.running_gpus) for each in usages),
                max(each.decayed_cpu_s for each in usages),
            )
        return known

    def each(self, group: Group) -> float:
        """By how much one more task of the group raises its owner's share."""
        asked = group.resources
        nodes = asked.nodes if group.anywhere is not None else 1
        share = self._dominant(asked.cpus * nodes, asked.memory_bytes * nodes, asked.gpus * nodes)
        return share or 1 / self._slots

    def _dominant(self, cpus: float, memory_bytes: float, gpus: float) -> float:
        return max(cpus / self._cpus, memory_bytes / self._memory, gpus / self._gpus)


def _total(views: Iterable[MachineView], kind: str) -> float:
    return float(sum([each for each in map(attrgetter(kind), views) if each]))


def fair_portions(
    groups: Sequence[Group], shares: Shares, slots: int
) -> tuple[Mapping[str, int], Sequence[Group]] | None:
    """How many tasks of each group of one band belong to its owner's fair part, and the groups in order of what
    their owners have; None where nobody competes.

    The parts are those with which the owners' shares would come to one level, if every slot suited everyone.
    """
    if (
        len({(group.project, group.user) for group in groups}) < 2
        or sum([len(group.tasks) for group in groups]) <= slots
    ):
        return None
    by_owner = dict[Owner, list[Group]]()
    for group in groups:
        by_owner.setdefault(owner(group), []).append(group)
    each = {
        whose: sum(len(group.tasks) * shares.each(group) for group in found) / sum(len(group.tasks) for group in found)
        for whose, found in by_owner.items()
    }
    water = _water_level([(shares.of(whose)[0], step) for whose, step in each.items()], slots)
    portions = dict[str, int]()
    for whose, found in by_owner.items():
        left = max(0, math.ceil((water - shares.of(whose)[0]) / each[whose] - 1e-9))
        for group in found:
            portions[group.id] = min(left, len(group.tasks))
            left -= portions[group.id]
    return portions, sorted(groups, key=lambda group: shares.of(owner(group)))


def _water_level(owners: Sequence[tuple[float, float]], slots: int) -> float:
    """The share to which ``slots`` more tasks raise those that have less; ``owners`` have a share, and one a task."""
    height, speed = 0.0, 0.0  # of those below the level: tasks that bring all of them to 0, tasks by unit of share
    level_ = 0.0
    for share, step in sorted(owners):
        if speed and (slots + height) / speed <= share:
            break
        height, speed = height + share / step, speed + 1 / step
        level_ = (slots + height) / speed
    return level_
