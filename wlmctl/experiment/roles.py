"""``machines``: the roles of an experiment, and whether a task may use the name of a machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from wlmctl.experiment.common import integer, labels
from wlmctl.experiment.fields import Fields, described
from wlmctl.experiment.mistakes import quoted
from wlmctl.experiment.model import Role
from wlmctl.experiment.names import NAME_FORM, is_name
from wlmctl.experiment.yamltree import Mapping as MappingNode
from wlmctl.experiment.yamltree import Scalar
from wlmctl.machine import GROUP, LOCAL, Machine, Requirement, groups_of
from wlmctl.quantities import parse_size
from wlmctl.suggest import did_you_mean

_FORM = "a machine or a group of the inventory, or {requires: {...}}"


def group_roles(machines: Collection[str] | None) -> dict[str, Role]:
    """The groups of the inventory as roles that any of their machines fits; a machine of that name comes first."""
    if not isinstance(machines, Mapping):
        return {}
    groups = groups_of(machine for machine in machines.values() if isinstance(machine, Machine))
    return {name: Role(name, requires=Requirement((GROUP + name,))) for name in groups if name not in machines}


def read_roles(
    fields: Fields, machines: Collection[str] | None, groups: Mapping[str, Role] | None = None
) -> dict[str, Role]:
    """The declared roles; ``machines`` are the names of the inventory, None: not checked. Mistakes are noted."""
    groups = groups or {}
    block = fields.mapping("machines", "a mapping such as {compute: {requires: {cpus: 8}}, store: nas}")
    roles: dict[str, Role] = {}
    if block is None:
        return roles
    for name, node in block:
        if not is_name(name):
            block.wrong(name, "found this name", NAME_FORM)
        elif name == LOCAL:
            block.wrong(name, "a role called local", "another name", "local is always the host where it was submitted")
        elif isinstance(node, MappingNode):
            roles[name] = _requirement(name, Fields(node, block.key(name), fields.mistakes))
        elif isinstance(node, Scalar) and block.get(name) is not None:
            if node.text in groups:
                roles[name] = replace(groups[node.text], name=name)
                continue
            roles[name] = Role(name, machine=node.text)
            if not is_machine(node.text, machines):
                block.wrong(
                    name, f"no machine {quoted(node.text)}", *unknown_machine(node.text, [*(machines or ()), *groups])
                )
        else:
            block.wrong(name, f"found {described(node)}", _FORM)
            roles[name] = Role(name)
    return roles


def is_machine(name: str, machines: Collection[str] | None) -> bool:
    """True for a machine of the inventory; for any name where the inventory is not checked."""
    return machines is None or name == LOCAL or name in machines


def unknown_machine(name: str, known: Collection[str]) -> tuple[str, str]:
    """What was expected instead of the machine or role ``name``, and what to do."""
    names = sorted({*known, LOCAL})
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"one of {shown}", did_you_mean(name[:60], names) or "declare it under machines, or add it to wlmctl.toml"


def role_mistake(
    name: str, keys: tuple[str, ...], roles: Mapping[str, Role], machines: Collection[str] | None
) -> tuple[str, str, str] | None:
    """Why a task with these ``foreach`` keys may not use ``name`` (found, expected, hint), or None."""
    role = roles.get(name)
    if role is None:
        if is_machine(name, machines):
            return None
        return (f"no role or machine {quoted(name)}", *unknown_machine(name, [*roles, *(machines or ())]))
    if role.each is not None and role.each not in keys:
        return (
            f"the role {name!r} is bound for each {role.each!r}",
            f"a foreach with the key {role.each!r} in each task that uses it",
            "",
        )
    return None


def _requirement(name: str, fields: Fields) -> Role:
    fields.check_names(("requires", "each"))
    block = fields.mapping("requires", "a mapping such as {labels: [gpu], cpus: 8}")
    if block is None:
        if fields.node.items.keys() <= {"each"}:
            fields.mistakes.add(fields.node.line, fields.path, "has no requires", _FORM)
        return Role(name)
    block.check_names(("labels", "cpus", "memory", "gpus"))
    requirement = Requirement(
        labels=block.checked("labels", labels, ()),
        cpus=block.checked("cpus", integer(0), None),
        memory_bytes=block.checked("memory", parse_size, None),
        gpus=block.checked("gpus", integer(0), None),
    )
    each = fields.checked("each", _each, None)
    return Role(name, requires=requirement, each=each)


def _each(value: Any) -> str:
    if not isinstance(value, str) or not is_name(value):
        raise ValueError("the name of a foreach key")
    return value
