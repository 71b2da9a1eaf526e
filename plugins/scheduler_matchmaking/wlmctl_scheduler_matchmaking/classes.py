"""Roles of an ``each`` that are shown in classes."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence

from wlmctl.scheduler import Group, Snapshot, UnboundRole, UnboundRoles


class Classes:
    """The classes of open roles by the groups that wait for them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._of_group = defaultdict[str, list[UnboundRoles]](list)
        for alike in snapshot.role_classes:
            for name in alike.groups:
                self._of_group[name].append(alike)
        #: By group the class that it alone waits for, each of its tasks for one of the roles, in their order.
        self.simple = {
            group.id: self._of_group[group.id][0]
            for group in snapshot.groups
            if group.own_roles and self._is_simple(group)
        }
        #: By other groups, the class of each role and its number in it.
        self._known = dict[str, Mapping[str, tuple[UnboundRoles, int]]]()

    def _is_simple(self, group: Group) -> bool:
        classes = self._of_group[group.id]
        return (
            len(classes) == 1
            and len(classes[0].groups) == 1
            and (group.own_roles is classes[0].roles or list(group.own_roles) == list(classes[0].roles))
        )

    def any_of(self, group: Group) -> UnboundRoles:
        """A class that the group waits for."""
        return self._of_group[group.id][0]

    def own(self, group: Group, number: int) -> tuple[UnboundRoles, UnboundRole]:
        """The role of the group's task of that number, and the class that it is one of."""
        alike = self.simple.get(group.id)
        if alike is not None:
            return alike, _one(alike, number)
        if group.id not in self._known:
            self._known[group.id] = {
                name: (each, place) for each in self._of_group[group.id] for place, name in enumerate(each.roles)
            }
        alike, place = self._known[group.id][group.own_roles[number]]
        return alike, _one(alike, place)


def _one(alike: UnboundRoles, number: int) -> UnboundRole:
    return UnboundRole(
        alike.experiment, alike.roles[number], alike.requires, alike.groups, alike.needs, alike.barred,
        _data_bytes(alike, number),
    )  # fmt: skip


def _data_bytes(alike: UnboundRoles, number: int) -> dict[str, int]:
    data, at = alike.data, bisect_left(alike.data.roles, number)
    found = dict[str, int]()
    while at < len(data.roles) and data.roles[at] == number:
        found[data.machines[data.at[at]]] = data.sizes[at]
        at += 1
    return found


def local_bytes(alike: UnboundRoles, numbers: Sequence[int], machines: Sequence[str]) -> int:
    """How much of the data of these roles of a class is on their machines."""
    bound, data = dict(zip(numbers, machines, strict=True)), alike.data
    return sum(
        size_bytes
        for number, at, size_bytes in zip(data.roles, data.at, data.sizes, strict=True)
        if bound.get(number) == data.machines[at]
    )
