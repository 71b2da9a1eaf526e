"""What the tasks of a role will ask of its machine, those that are not ready yet included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from wlmctl.experiment import Instances
from wlmctl.experiment.instances import marked_names
from wlmctl.experiment.model import Experiment
from wlmctl.scheduler import RoleNeed
from wlmctl.task import NOTHING


class RoleNeeds:
    """The needs of one experiment's roles, numbered: those whose tasks ask for the same share a number.

    ``defers`` tells of each template whether its tasks take anything. What depends on run-time values is not known yet.
    """

    def __init__(self, experiment: Experiment, instances: Sequence[Instances], defers: Sequence[bool]) -> None:
        self._roles, self._instances, self._defers = experiment.roles, instances, defers
        self._numbers: dict[tuple[RoleNeed, ...], int] = {}
        self._needs: list[tuple[RoleNeed, ...]] = []
        #: By role: the number of its needs, by value for an ``each`` and by None else. Values are texts of the rows.
        self._known: dict[str, Mapping[str | None, int]] = {}

    def of(self, role: str, key: str) -> tuple[RoleNeed, ...]:
        """The needs of the role that is bound as ``key``, each once."""
        return self._needs[self.number(role, key)]

    def number(self, role: str, key: str) -> int:
        """Their number."""
        known = self._known.get(role)
        if known is None:
            known = self._known[role] = self._numbered(role)
        found = known.get(None if key == role else key[len(role) + 1 : -1])
        return self._number(()) if found is None else found

    def at(self, number: int) -> tuple[RoleNeed, ...]:
        """The needs of that number."""
        return self._needs[number]

    def _number(self, needs: tuple[RoleNeed, ...]) -> int:
        found = self._numbers.setdefault(needs, len(self._needs))
        if found == len(self._needs):
            self._needs.append(needs)
        return found

    def _numbered(self, role: str) -> Mapping[str | None, int]:
        """The needs of all values, in one pass over the rows: each row leads from one number to another."""
        known, nothing = dict[str | None, int](), self._number(())
        needs = list[RoleNeed]()
        steps = dict[tuple[int, int], int]()
        for value, need in self._each_need(role, needs):
            step = known.get(value, nothing), need
            if (found := steps.get(step)) is None:
                found = steps[step] = self._number(tuple(dict.fromkeys((*self._needs[step[0]], needs[need]))))
            known[value] = found
        return known

    def _each_need(self, role: str, needs: list[RoleNeed]) -> Iterator[tuple[str | None, int]]:
        """Of each row whose task has the role the value, and its need's place in ``needs``, which this fills."""
        each = self._roles[role].each
        for instances, defers in zip(self._instances, self._defers, strict=True):
            template, roles = instances.template, instances.constant_roles() or ()
            names = marked_names(template.common)
            if role not in roles or not names.issubset(template.keys):
                continue
            columns = [template.keys.index(name) for name in sorted(names)]
            own = template.keys.index(each) if each is not None else None
            takes, known = defers and roles[0] == role, dict[tuple[str, ...], int]()
            for position, row in enumerate(template.rows):
                values = tuple([row[column] for column in columns])
                if (need := known.get(values)) is None:
                    common = instances.common(position)
                    need = known[values] = len(needs)
                    # for how long is no question of which machine: often each value has a walltime of its own
                    asked = replace(common.resources, walltime_s=None) if takes else NOTHING
                    needs.append(RoleNeed(template.type, asked, common.worker_labels))
                yield None if own is None else row[own], need
