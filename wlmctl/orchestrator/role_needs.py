"""What the tasks of a role will ask of its machine, those that are not ready yet included."""

from __future__ import annotations

from collections.abc import Iterator

from wlmctl.experiment.instances import marked_names
from wlmctl.orchestrator.ready import NOTHING
from wlmctl.orchestrator.work import Work
from wlmctl.scheduler import RoleNeed


def role_needs(work: Work, role: str, key: str) -> tuple[RoleNeed, ...]:
    """The needs of the role that is bound as ``key``, each once; what depends on run-time values is not known yet."""
    known = work.role_needs.get(key)
    if known is None:
        known = work.role_needs[key] = tuple(dict.fromkeys(_needs(work, role, key)))
    return known


def _needs(work: Work, role: str, key: str) -> Iterator[RoleNeed]:
    each = work.experiment.roles[role].each
    for number, (template, instances) in enumerate(zip(work.templates, work.instances, strict=True)):
        roles = instances.constant_roles() or ()
        names = marked_names(template.common)
        if role not in roles or not names.issubset(template.keys):
            continue
        columns = [template.keys.index(name) for name in sorted(names)]
        own = template.keys.index(each) if each in template.keys else None
        seen = set[tuple[str, ...]]()
        for position, row in enumerate(template.rows):
            values = tuple(row[column] for column in columns)
            if (own is not None and f"{role}[{row[own]}]" != key) or values in seen:
                continue
            seen.add(values)
            common = instances.common(position)
            asked = common.resources if work.defers[number] and roles[0] == role else NOTHING
            yield RoleNeed(template.type, asked, common.worker_labels)
