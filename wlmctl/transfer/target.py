"""The target of a transfer, looked at before the first byte: kinds, clashes, and room."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from wlmctl.errors import NoSpace, NotFound, TaskFailed
from wlmctl.transfer.endpoint import Spot
from wlmctl.transfer.place import Place
from wlmctl.transport import FileInfo, Links, Lists, Space, Spawns, Transport

if TYPE_CHECKING:
    from wlmctl.transfer.plan import Item

#: From so many targets in one folder on, the folder is listed instead of asking for each.
_LISTED_FROM = 8


def check_targets(
    place: Place, transport: Transport, target: Spot, items: Sequence[Item], check: Callable[[], None]
) -> frozenset[str]:
    """The folder targets that do not exist yet; ``TaskFailed`` or ``NoSpace`` where an item cannot go."""
    if target.is_folder:
        there = transport.stat(target.path, follow=True)
        if there is not None and there.kind != "directory":
            raise TaskFailed(f"{place.shown(target.path)}: is a file, and a folder is meant by the final slash")
    seen = _Seen(transport, items)
    new_roots = set()
    replaced_bytes = 0
    for item in items:
        check()
        there = seen.at(item.target)
        if there is None:
            if item.info.kind == "directory" and item.target == item.root:
                new_roots.add(item.root)
            continue
        if item.info.kind == "directory" and there.kind != "directory":
            raise TaskFailed(f"{place.shown(item.target)}: is a file, where a folder should go")
        if item.info.kind != "directory" and there.kind == "directory":
            raise TaskFailed(f"{place.shown(item.target)}: is a folder, where a file should go")
        replaced_bytes += there.size_bytes
    link = next((item for item in items if item.info.kind == "symlink"), None)
    if link is not None and not isinstance(transport, Links):
        raise TaskFailed(f"{link.place.shown(link.path)}: is a symlink, which {place.name} cannot make")
    _check_room(place, transport, target, items, replaced_bytes)
    return frozenset(new_roots)


def _check_room(place: Place, transport: Transport, target: Spot, items: Sequence[Item], replaced_bytes: int) -> None:
    # on this host the holes of a sparse file stay holes, so that its size says nothing
    if not isinstance(transport, Space) or isinstance(transport, Spawns):
        return
    sizes = [item.info.size_bytes for item in items]
    needed_bytes = max(sum(sizes) - replaced_bytes, max(sizes, default=0))
    folder = target.path
    while transport.stat(folder, follow=True) is None and folder != "/":
        folder = posixpath.dirname(folder)
    free_bytes = transport.free_bytes(folder)
    if free_bytes is not None and free_bytes < needed_bytes:
        raise NoSpace(f"{place.shown(folder)}: {needed_bytes:,} bytes are needed and {free_bytes:,} are free")


class _Seen:
    """What is at each target; what lies in a folder that is not there is not asked for."""

    def __init__(self, transport: Transport, items: Sequence[Item]) -> None:
        self._transport = transport
        self._known: dict[str, FileInfo | None] = {}
        self._listed: dict[str, dict[str, FileInfo]] = {}
        self._together = Counter(posixpath.dirname(item.target) for item in items)

    def at(self, path: str) -> FileInfo | None:
        if path not in self._known:
            parent = posixpath.dirname(path)
            is_parent_missing = parent != path and parent in self._together and self.at(parent) is None
            self._known[path] = None if is_parent_missing else self._looked_up(path, parent)
        return self._known[path]

    def _looked_up(self, path: str, parent: str) -> FileInfo | None:
        found: FileInfo | None
        if self._together[parent] >= _LISTED_FROM and isinstance(self._transport, Lists):
            if parent not in self._listed:
                try:
                    self._listed[parent] = {info.path: info for info in self._transport.entries(parent)}
                except NotFound:
                    self._listed[parent] = {}
            found = self._listed[parent].get(posixpath.basename(path))
        else:
            found = self._transport.stat(path)
        if found is not None and found.kind == "symlink":
            meant = self._transport.stat(path, follow=True)
            if meant is not None and meant.kind == "directory":
                return meant
        return found
