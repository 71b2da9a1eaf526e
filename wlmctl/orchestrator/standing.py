"""How the roles of a task stand: which of them have a machine, and which tasks a scheduler may take for one another."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass

from wlmctl.experiment.model import Role
from wlmctl.orchestrator.role_needs import RoleNeeds


@dataclass(frozen=True, slots=True)
class Standing:
    """Tasks whose ``names`` are equal wait for the same.

    A task that waits for nothing but one role of an ``each`` is one of a class: ``own`` is that role as it is declared,
    ``needs`` the number of what those of the class ask. Of any other that waits for roles of an ``each``, ``waits`` are
    the keys of all of its open roles, and ``alike`` are its names without its own values.
    """

    names: tuple[str, ...]
    own: str | None = None
    needs: int = 0
    waits: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()


def standing(
    roles: Iterable[str],
    declared: Mapping[str, Role],
    key_of: Callable[[str], str],
    bindings: Mapping[str, str],
    needs: RoleNeeds,
    apart: Container[str] = (),
) -> tuple[Standing, str]:
    """How these roles of a task stand, and the key of its own role where it is one of a class.

    ``key_of`` tells the key under which a role of it is bound; roles that are ``apart`` are in no class.
    """
    names, open_, is_each = list[str](), dict[str, str](), False
    for role in roles:
        found = declared.get(role)
        if found is None or found.machine is not None:
            names.append(role)
            continue
        key = key_of(role)
        machine = bindings.get(key)
        if machine is None:
            open_[key] = role
            is_each |= found.each is not None
            names.append(key)
        else:
            names.append(role if found.each is None else f"{role}={machine}")
    if not is_each:
        return Standing(tuple(names)), ""
    numbers = {key: needs.number(role, key) for key, role in open_.items()}
    classes = {key: f"{role}[]{numbers[key]}" for key, role in open_.items() if key != role}
    alike = tuple([classes.get(name, name) for name in names])
    if len(open_) == 1:
        [(own, role)] = open_.items()
        if own not in apart:
            return Standing(alike, role, numbers[own]), own
    return Standing(tuple(names), waits=tuple(open_), alike=alike), ""
