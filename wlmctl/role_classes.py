"""Open roles of an ``each`` in classes, for schedulers that look at many at once, and one by one for all others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from wlmctl.scheduler import Decision, Group, Reason, Scheduler, Snapshot, UnboundRole, UnboundRoles


@dataclass(frozen=True, slots=True)
class Apart:
    """A snapshot with a group and an ``UnboundRole`` for each role of an ``each``; ``whole`` is by the id of such a
    group that of the group which it is a part of.
    """

    snapshot: Snapshot
    whole: Mapping[str, str]

    def told(self, decision: Decision) -> Decision:
        """The decision on it as one on the snapshot with classes; of a group's parts one gives the reason."""
        reasons = dict[str, Reason]()
        for name, reason in decision.reasons.items():
            reasons.setdefault(self.whole.get(name, name), reason)
        return replace(decision, reasons=reasons)


def decide(scheduler: Scheduler, snapshot: Snapshot) -> Decision:
    """What the scheduler decides on what it is made to look at: classes, or each role by itself."""
    if not snapshot.role_classes or getattr(scheduler, "by_class", False):
        return scheduler.assign(snapshot)
    alone = apart(snapshot)
    decision = scheduler.assign(alone.snapshot)
    return alone.told(decision) if isinstance(decision, Decision) else decision


def apart(snapshot: Snapshot) -> Apart:
    """The snapshot without classes: the same tasks in the same order, the same roles."""
    groups, whole = list[Group](), dict[str, str]()
    #: By whole group and role: the group that is a part.
    parts = defaultdict[str, dict[str, str]](dict)
    for group in snapshot.groups:
        if not group.own_roles:
            groups.append(group)
            continue
        for part in _parts(group):
            groups.append(part)
            whole[part.id] = group.id
            parts[group.id][part.unbound or ""] = part.id
    roles = [*snapshot.roles]
    for alike in snapshot.role_classes:
        roles += _each(alike, parts)
    return Apart(replace(snapshot, groups=groups, roles=roles, role_classes=()), whole)


def _parts(group: Group) -> Iterator[Group]:
    """A group for each role, in the order of their first tasks."""
    by_role = defaultdict[str, list[str]](list)
    for task, role in zip(group.tasks, group.own_roles, strict=True):
        by_role[role].append(task)
    digits = len(str(len(by_role)))
    for number, (role, tasks) in enumerate(by_role.items()):
        name = f"{group.id}[{number:0{digits}}]"  # so that they are sorted by it as they came
        yield replace(group, id=name, tasks=tuple(tasks), unbound=role, own_roles=())


def _each(alike: UnboundRoles, parts: Mapping[str, Mapping[str, str]]) -> Iterator[UnboundRole]:
    data = alike.data
    there: list[dict[str, int]] = [{} for _ in alike.roles]
    for role, at, size_bytes in zip(data.roles, data.at, data.sizes, strict=True):
        there[role][data.machines[at]] = size_bytes
    for number, name in enumerate(alike.roles):
        groups = tuple(parts[group][name] for group in alike.groups if name in parts[group])
        yield UnboundRole(
            alike.experiment, name, alike.requires, groups, alike.needs, alike.barred, data_bytes=there[number]
        )
