"""How much of what the tasks of a role read is on a machine already: what tasks that move data have put there."""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import compress

from wlmctl import plugins
from wlmctl.experiment import Instances
from wlmctl.experiment.model import Experiment
from wlmctl.scheduler import DataColumns

#: Of each of some roles the number of a machine, -1 where there is none, and how much is there.
_Layer = tuple[Sequence[int], Sequence[int]]


class Locality:
    """Of one experiment, what was put where, by role; and which roles are read from by tasks that fill others.

    A task that moves data names the role that it fills first, then those that it reads from. Counted is all that was
    put to a role, whichever part of it is read; what jobs write there is not known.
    """

    def __init__(self, experiment: Experiment, instances: Sequence[Instances]) -> None:
        self._roles, self._templates = experiment.roles, experiment.templates
        #: By template that moves data, its roles: the one that it fills, those that it reads from.
        self._moving = {
            number: each.constant_roles() or ()
            for number, each in enumerate(instances)
            if plugins.moves_data(each.template.type)
        }
        self._put = defaultdict[str, int](int)
        #: The roles, as they are declared, to which anything was put.
        self._filled = set[str]()
        self._known_sources: dict[str, Sequence[tuple[str, bool]]] = {}
        #: The keys of the roles to which something was put, one after the other.
        self._log = list[str]()

    @property
    def moving(self) -> Sequence[int]:
        """The templates whose tasks move data, by number."""
        return [number for number, roles in self._moving.items() if roles]

    @property
    def version(self) -> int:
        """Another one each time that something was put."""
        return len(self._log)

    def put_since(self, version: int) -> Sequence[str]:
        """The keys of the roles to which something was put since then."""
        return self._log[version:]

    def read(self, template: int, position: int, outputs: str) -> None:
        """The same as ``succeeded``, with the outputs as the store has them."""
        if self._moving.get(template):
            self.succeeded(template, position, json.loads(outputs))

    def succeeded(self, template: int, position: int, outputs: Mapping[str, str]) -> None:
        """A task has succeeded, with these outputs: what it has moved is in ``bytes``."""
        roles = self._moving.get(template)
        if roles and outputs.get("bytes", "").isdigit():
            role, found = roles[0], self._templates[template]
            each = self._each(role)
            key = role if each is None else f"{role}[{found.rows[position][found.keys.index(each)]}]"
            self._put[key] += int(outputs["bytes"])
            self._filled.add(role)
            self._log.append(key)

    def data_bytes(self, role: str, key: str, bindings: Mapping[str, str]) -> dict[str, int]:
        """By machine, how much of what fills the role, bound as ``key``, is there."""
        found = defaultdict[str, int](int)
        for source, is_own in self._sources(role):
            source_key = source + key.removeprefix(role) if is_own else source
            machine = self._machine(source, source_key, bindings)
            if machine is not None and self._put.get(source_key):
                found[machine] += self._put[source_key]
        return found

    def only_source(self, role: str) -> str | None:
        """The role with the same ``each`` whose data alone the role is filled from; None where none or more are."""
        sources = self._sources(role)
        return sources[0][0] if len(sources) == 1 and sources[0][1] else None

    def layer(
        self, keys: Sequence[str], bindings: Mapping[str, str], number_of: Callable[[str | None], int]
    ) -> tuple[Sequence[int], Sequence[int]]:
        """Of each of these roles of an ``each`` the number of its machine, and how much was put there."""
        machines = [*map(bindings.get, keys)]
        known = {machine: number_of(machine) for machine in dict.fromkeys(machines)}
        return [known[machine] for machine in machines], [self._put.get(key, 0) for key in keys]

    def columns(
        self, role: str, keys: Sequence[str], bindings: Mapping[str, str], place_of: Callable[[str], str | None]
    ) -> DataColumns:
        """The same of all these keys of a role with ``each``, by place; a machine whose place is open has none."""
        numbers = dict[str, int]()

        def number_of(machine: str | None) -> int:
            place = place_of(machine) if machine is not None else None
            return -1 if place is None else numbers.setdefault(place, len(numbers))

        layers = list[_Layer]()
        for source, is_own in self._sources(role):
            if is_own:
                layers.append(self.layer([source + key[len(role) :] for key in keys], bindings, number_of))
            elif size_bytes := self._put.get(source, 0):
                number = number_of(self._machine(source, source, bindings))
                layers.append(([number] * len(keys), [size_bytes] * len(keys)))
        positions, at, sizes = _merged(layers)
        return DataColumns(tuple(numbers), array("q", positions), array("q", at), array("q", sizes))

    def _sources(self, role: str) -> Sequence[tuple[str, bool]]:
        """The roles with data that the role is filled from, and whether it is the one of the same value of an ``each``;
        one that is read from many of them has none."""
        if not self._filled:
            return ()
        known = self._known_sources.get(role)
        if known is None:
            names = {source for roles in self._moving.values() if roles and roles[0] == role for source in roles[1:]}
            each = [(source, self._each(source)) for source in sorted(names)]
            known = [(source, value is not None) for source, value in each if value in (None, self._each(role))]
            self._known_sources[role] = known
        return [(source, is_own) for source, is_own in known if source in self._filled]

    def _machine(self, source: str, key: str, bindings: Mapping[str, str]) -> str | None:
        declared = self._roles.get(source)
        return source if declared is None else declared.machine or bindings.get(key)

    def _each(self, role: str) -> str | None:
        declared = self._roles.get(role)
        return declared.each if declared is not None else None


def _merged(layers: Sequence[_Layer]) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """What is there of all layers: which role, which machine, how much; no machine twice for a role."""
    if len(layers) == 1:  # nearly always: there are very many roles
        at, sizes = layers[0]
        is_there = [size_bytes > 0 <= number for number, size_bytes in zip(at, sizes, strict=True)]
        return [*compress(range(len(at)), is_there)], [*compress(at, is_there)], [*compress(sizes, is_there)]
    there = defaultdict[tuple[int, int], int](int)
    for at, sizes in layers:
        for position, (number, size_bytes) in enumerate(zip(at, sizes, strict=True)):
            if size_bytes > 0 <= number:
                there[position, number] += size_bytes
    order = sorted(there)
    return [position for position, _ in order], [number for _, number in order], [there[each] for each in order]
