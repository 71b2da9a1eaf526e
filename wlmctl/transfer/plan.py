"""What a transfer would do: every source listed, every target named, everything checked before the first byte."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence

from wlmctl.errors import TaskFailed
from wlmctl.transfer.endpoint import Spot
from wlmctl.transfer.items import Item, Plan, Source, Symlinks
from wlmctl.transfer.listing import listed
from wlmctl.transfer.pattern import Exclusion
from wlmctl.transfer.place import Place
from wlmctl.transfer.target import check_targets


def plan(
    sources: Sequence[Source],
    to: Place,
    target: Spot,
    *,
    symlinks: Symlinks = Symlinks.KEEP,
    exclude: Sequence[str] = (),
    check: Callable[[], None] = lambda: None,
    execution: str = "",
) -> Plan:
    """List every source and check every target; nothing is written.

    What earlier executions of the work that ``execution`` names have left counts as free room. Raises ``NotFound``,
    ``Denied``, ``NoSpace``, or ``TaskFailed`` for a clash of names or kinds, each naming the path.
    """
    if not target.is_folder and (len(sources) > 1 or any(source.spot.is_pattern for source in sources)):
        raise TaskFailed(f"{to.shown(target.path)}: several sources or a pattern need a target with a final slash")
    excluded = Exclusion(exclude)
    gathered = _Gathered(to, is_single=len(sources) == 1 and not sources[0].spot.is_pattern)
    for source in sources:
        with source.place.lease() as transport, source.place.told(source.spot.path):
            for item in listed(source, transport, target, symlinks, excluded):
                check()
                _check_outside(item, to, excluded)
                _check_not_its_own(item, to)
                gathered.add(item, is_contents=source.spot.is_folder)
    items = tuple(gathered.items)
    del gathered  # its targets by name are the larger part of a large plan
    with to.lease() as transport, to.told(target.path):
        return Plan(to, items, check_targets(to, transport, target, items, check, execution))


def _check_outside(item: Item, to: Place, excluded: Exclusion) -> None:
    """``TaskFailed`` for a folder that goes into itself: each repetition would copy what the last one has made."""
    if item.info.path or item.info.kind != "directory" or item.place.machine != to.machine:
        return
    above, inner = f"{item.path.rstrip('/')}/", item.target
    if inner.startswith(above) and not excluded(inner.removeprefix(above), is_folder=True):
        raise TaskFailed(f"{item.place.shown(item.path)}: would be copied into itself, as {to.shown(inner)}")


def _check_not_its_own(item: Item, to: Place) -> None:
    """``TaskFailed`` for a symlink in the place of what it points at: it would lead to itself, and that be lost."""
    if item.info.kind != "symlink" or item.place.machine != to.machine:
        return
    pointed_at = posixpath.normpath(posixpath.join(posixpath.dirname(item.path), item.info.target or ""))
    if pointed_at == item.target != item.path:
        shown = item.place.shown(item.path)
        raise TaskFailed(f"{shown}: is a symlink to {to.shown(item.target)}, which it would replace")


class _Gathered:
    """The items: two sources for one name are an error, but the contents of two folders may share folders.

    A single source (``is_single``) has no name twice.
    """

    def __init__(self, to: Place, *, is_single: bool) -> None:
        self._is_single = is_single
        self.items: list[Item] = []
        self._to = to
        self._by_target: dict[str, Item] = {}
        self._named: set[str] = set()

    def add(self, item: Item, *, is_contents: bool) -> None:
        if self._is_single:
            self.items.append(item)
            return
        target = item.target
        other = self._by_target.setdefault(target, item)
        is_named = target == item.root and not is_contents
        if other is item:
            self.items.append(item)
        elif not (other.place == item.place and other.path == item.path):
            both_folders = other.info.kind == item.info.kind == "directory"
            if is_named or target in self._named or not both_folders:
                raise TaskFailed(
                    f"two sources for one name: {other.place.shown(other.path)} and {item.place.shown(item.path)} "
                    f"would both become {self._to.shown(target)}"
                )
        if is_named:
            self._named.add(target)
