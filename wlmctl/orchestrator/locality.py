"""How much of what the tasks of a role read is on a machine already: what tasks that move data have put there."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

from wlmctl import plugins
from wlmctl.experiment import Instances
from wlmctl.experiment.model import Experiment


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

    @property
    def moving(self) -> Sequence[int]:
        """The templates whose tasks move data, by number."""
        return [number for number, roles in self._moving.items() if roles]

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

    def data_bytes(self, role: str, key: str, bindings: Mapping[str, str]) -> dict[str, int]:
        """By machine, how much of what fills the role, bound as ``key``, is there."""
        found = defaultdict[str, int](int)
        if not self._put:
            return found
        sources = {source for roles in self._moving.values() if roles and roles[0] == role for source in roles[1:]}
        for source in sorted(sources):
            each = self._each(source)
            if each is not None and each != self._each(role):
                continue  # it is read from many of them
            source_key = source if each is None else source + key.removeprefix(role)
            declared = self._roles.get(source)
            machine = source if declared is None else declared.machine or bindings.get(source_key)
            if machine is not None and self._put.get(source_key):
                found[machine] += self._put[source_key]
        return found

    def _each(self, role: str) -> str | None:
        declared = self._roles.get(role)
        return declared.each if declared is not None else None
