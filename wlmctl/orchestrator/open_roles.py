"""The roles that have no machine yet as one look shows them: one by one, and those of an ``each`` in classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from wlmctl.machine import Requirement
from wlmctl.orchestrator.kept_columns import KeptColumns
from wlmctl.orchestrator.ready import ReadyGroup
from wlmctl.orchestrator.work import Work
from wlmctl.scheduler import DataColumns, RoleNeed, UnboundRole, UnboundRoles


@dataclass(slots=True)
class _Alone:
    """A role, and the groups that wait for it."""

    work: Work
    role: str
    key: str
    groups: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Class:
    """Roles of one ``each`` whose tasks ask for the same: the groups that wait for some of them, of those that are
    shown the names and their tasks' roles; ``keys`` are all roles, where several groups wait for them."""

    work: Work
    role: str
    needs: int
    ready: list[ReadyGroup] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    parts: list[Sequence[str]] = field(default_factory=list)
    #: The last group that is shown.
    last: ReadyGroup | None = None
    keys: set[str] | None = None

    def has(self, key: str) -> bool:
        """True where a task waits for this role."""
        if len(self.ready) == 1:
            return self.ready[0].has(key)
        if self.keys is None:
            self.keys = {*chain.from_iterable(group.own_roles for group in self.ready)}
        return key in self.keys


@dataclass(frozen=True, slots=True)
class Shown:
    """A class as it was shown last: the roles of its groups' tasks, all of them, and their data with what they stem
    from. As long as these are the same the next look shows the same."""

    parts: Sequence[Sequence[str]]
    roles: Sequence[str]
    stem: tuple[object, ...]
    data: DataColumns
    kept: KeptColumns | None = None


class OpenRoles:
    """The open roles of one look."""

    def __init__(self, locals_: Iterable[str]) -> None:
        self._locals = [*locals_]
        self._alone: dict[tuple[int, str], _Alone] = {}
        self._classes: dict[tuple[int, str, int], _Class] = {}
        self._barred: dict[str | None, frozenset[str]] = {}

    def note(self, work: Work, group: ReadyGroup, role: str, key: str) -> None:
        """The group waits for this role; or each of its tasks does for one of the class of ``key``."""
        if group.own == role:
            number = group.standing.needs
            self._classes.setdefault((work.seq, role, number), _Class(work, role, number)).ready.append(group)
        else:
            self._alone.setdefault((work.seq, key), _Alone(work, role, key)).groups.append(group.key)

    def show(self, work: Work, group: ReadyGroup, own_roles: Sequence[str]) -> None:
        """Tasks that wait for these roles of a class are shown."""
        alike = self._classes[work.seq, group.own or "", group.standing.needs]
        alike.groups.append(group.key)
        alike.parts.append(own_roles)
        alike.last = group

    def needs(self) -> Iterator[RoleNeed]:
        """What the tasks of all of them will ask."""
        for each in self._alone.values():
            yield from each.work.role_needs.of(each.role, each.key)
        for alike in self._classes.values():
            yield from alike.work.role_needs.at(alike.needs)

    def ask_for_amounts(self) -> bool:
        """True where some of them require an amount of something, which is known of few machines at first."""
        required = {(work.seq, role): _requires(work, role) for work, role in self._declared()}
        return any((each.cpus, each.memory_bytes, each.gpus) != (None, None, None) for each in required.values())

    def _declared(self) -> Iterator[tuple[Work, str]]:
        for each in chain[_Alone | _Class](self._alone.values(), self._classes.values()):
            yield each.work, each.role

    def alone(self) -> tuple[UnboundRole, ...]:
        """The roles that are shown one by one."""
        return tuple([_unbound(each, self._barred_of(each.work)) for each in self._alone.values()])

    def classes(self, works: Iterable[Work]) -> tuple[UnboundRoles, ...]:
        """The roles that are shown in classes, as far as tasks of them are; ``works`` are all that there are."""
        shown: dict[int, dict[tuple[str, int], Shown]] = {work.seq: {} for work in works}
        found = list[UnboundRoles]()
        for alike in self._classes.values():
            if not alike.parts:
                continue
            work, role = alike.work, alike.role
            now = shown[work.seq][role, alike.needs] = _shown(alike, work.shown_classes.get((role, alike.needs)))
            needs, barred = work.role_needs.at(alike.needs), self._barred_of(work)
            found.append(
                UnboundRoles(
                    work.row.id, now.roles, _requires(work, role), tuple(alike.groups), needs, barred, now.data
                )
            )
        for work in works:
            work.shown_classes = shown[work.seq]
        return tuple(found)

    def _barred_of(self, work: Work) -> frozenset[str]:
        if work.local not in self._barred:
            self._barred[work.local] = frozenset(name for name in self._locals if name != work.local)
        return self._barred[work.local]

    def requires(self, work: Work, key: str) -> Requirement | None:
        """What the role that is bound as ``key`` requires; None where it is not open."""
        alone = self._alone.get((work.seq, key))
        if alone is not None:
            return _requires(work, alone.role)
        role, is_each, _ = key.partition("[")
        declared = work.experiment.roles.get(role)
        if not is_each or declared is None or declared.each is None:
            return None
        alike = self._classes.get((work.seq, role, work.role_needs.number(role, key)))
        return _requires(work, role) if alike is not None and alike.has(key) else None


def data_bytes(work: Work, role: str, key: str) -> dict[str, int]:
    """By place, how much of what the tasks of a role read is there."""
    put = work.locality.data_bytes(role, key, work.bindings).items()
    return {place: size_bytes for name, size_bytes in put if (place := work.place_of(name)) is not None}


def _requires(work: Work, role: str) -> Requirement:
    return work.experiment.roles[role].requires or Requirement()


def _unbound(each: _Alone, barred: frozenset[str]) -> UnboundRole:
    work, role = each.work, each.role
    needs, data = work.role_needs.of(role, each.key), data_bytes(work, role, each.key)
    return UnboundRole(work.row.id, each.key, _requires(work, role), tuple(each.groups), needs, barred, data)


def _shown(alike: _Class, known: Shown | None) -> Shown:
    work, parts, group = alike.work, alike.parts, alike.last
    assert group is not None, "only what is shown gets here"
    is_alone = len(parts) == 1 and group.is_one_each
    if known is not None and [*map(id, known.parts)] == [*map(id, parts)]:
        roles = known.roles
    else:
        roles = parts[0] if is_alone else tuple(dict.fromkeys(chain.from_iterable(parts)))
    kept = None
    if is_alone and len(roles) == len(group.tasks):
        kept = known.kept if known is not None and known.kept is not None and known.kept.is_of(group) else None
        kept = kept or KeptColumns(work, group)
        data = kept.columns()
        if data is not None:
            return Shown(parts, roles, (), data, kept)
    stem = work.locality.version, len(work.bindings), work.local
    if known is None or known.roles is not roles or known.stem != stem:
        data = work.locality.columns(alike.role, roles, work.bindings, work.place_of)
        return Shown(parts, roles, stem, data, kept)
    return known
