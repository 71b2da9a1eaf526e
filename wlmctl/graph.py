"""The graph of an experiment's templates: pure functions over what needs what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wlmctl.experiment.model import Template


def cycle(templates: Sequence[Template]) -> list[str] | None:
    """The names along one cycle, the first again at the end (``[a, b, a]``: a needs b, b needs a), or None."""
    needs = {template.name: [need.task for need in template.needs] for template in templates}
    done: set[str] = set()
    for start in needs:
        path: list[str] = []
        on_path: set[str] = set()
        left: list[tuple[str, bool]] = [(start, False)]
        while left:
            name, has_ended = left.pop()
            if has_ended:
                done.add(name)
                on_path.discard(path.pop())
                continue
            if name in on_path:
                return [*path[path.index(name) :], name]
            if name in done:
                continue
            path.append(name)
            on_path.add(name)
            left.append((name, True))
            left.extend((needed, False) for needed in reversed(needs.get(name, ())))
    return None


def order(templates: Sequence[Template]) -> list[Template]:
    """The templates so that each stands behind what it needs, otherwise in file order. There must be no cycle."""
    by_name = {template.name: template for template in templates}
    placed: set[str] = set()
    ordered: list[Template] = []
    for template in templates:
        left = [(template, False)]
        while left:
            current, is_ready = left.pop()
            if current.name in placed:
                continue
            if is_ready:
                placed.add(current.name)
                ordered.append(current)
                continue
            left.append((current, True))
            left.extend(
                (by_name[need.task], False)
                for need in reversed(current.needs)
                if need.task in by_name and need.task not in placed
            )
    return ordered


def dependents(templates: Iterable[Template]) -> dict[str, list[str]]:
    """For each template the names of those that need it directly, in file order."""
    known = list(templates)
    needed_by: dict[str, list[str]] = {template.name: [] for template in known}
    for template in known:
        for name in dict.fromkeys(need.task for need in template.needs):
            if name in needed_by:
                needed_by[name].append(template.name)
    return needed_by


def behind(templates: Iterable[Template], names: Iterable[str]) -> set[str]:
    """The names of all that need one of ``names``, directly or through others; not ``names`` themselves."""
    return reachable(dependents(templates), names)


def reachable(edges: dict[str, list[str]], names: Iterable[str]) -> set[str]:
    """What ``edges`` lead to from ``names``, which are not in it unless an edge leads back."""
    left = [behind for name in names for behind in edges.get(name, ())]
    found: set[str] = set()
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left.extend(edges.get(name, ()))
    return found
