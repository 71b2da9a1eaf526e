"""The target of a transfer, looked at before the first byte: kinds, clashes, names, and room."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from wlmctl.errors import NoSpace, NotFound, TaskFailed
from wlmctl.transfer.endpoint import Spot
from wlmctl.transfer.items import Item, Targets, is_alike
from wlmctl.transfer.leftovers import Forerunners
from wlmctl.transfer.place import Place
from wlmctl.transfer.temporary import NAME_BYTES
from wlmctl.transport import BulkNames, FileInfo, Links, Lists, Space, Spawns, Transport

#: From so many targets in one folder on, the folder is listed instead of asking for each.
_LISTED_FROM = 8
#: The longest path that common systems take, in bytes, less what a temporary name in it needs.
_PATH_BYTES = 4095 - 64


def check_targets(
    place: Place,
    transport: Transport,
    target: Spot,
    items: Sequence[Item],
    check: Callable[[], None],
    execution: str = "",
) -> Targets:
    """Look at every target; ``TaskFailed`` or ``NoSpace`` where an item cannot go."""
    looked = _Looked(place, transport, Forerunners(transport, execution))
    if target.is_folder:
        there = transport.stat(target.path, follow=True)
        if there is not None and there.kind != "directory":
            raise TaskFailed(f"{place.shown(target.path)}: is a file, and a folder is meant by the final slash")
        (looked.missing if there is None else looked.folders).add(target.path)
    link = next((item for item in items if item.info.kind == "symlink"), None)
    if link is not None and not isinstance(transport, Links):
        raise TaskFailed(f"{link.place.shown(link.path)}: is a symlink, which {place.name} cannot make")
    folders: dict[str, list[Item]] = {}
    for item in items:
        folders.setdefault(posixpath.dirname(item.target), []).append(item)
    for folder, within in folders.items():
        check()
        looked.into(folder, within)
    _check_room(place, transport, target, items, looked)
    return Targets(
        frozenset(looked.new_roots),
        frozenset(looked.alike),
        frozenset(looked.folders),
        looked.case_clash,
        tuple(looked.forerunners.found.values()) if execution else None,
    )


@dataclass(slots=True)
class _Looked:
    """What is at the targets, folder by folder; what lies in a folder that is not there is not asked for."""

    place: Place
    transport: Transport
    forerunners: Forerunners
    folders: set[str] = field(default_factory=set)
    new_roots: set[str] = field(default_factory=set)
    alike: set[str] = field(default_factory=set)
    case_clash: tuple[str, str] | None = None
    replaced_bytes: int = 0
    missing: set[str] = field(default_factory=set)

    def into(self, folder: str, items: Sequence[Item]) -> None:
        """Look at the targets of ``items``, which all lie in ``folder``."""
        self._check_names(folder, items)
        if folder in self.missing:
            found: Iterable[FileInfo | None] = [None] * len(items)
        else:
            found = self._found(folder, items)
        for item, there in zip(items, found, strict=True):
            if there is not None:
                self._check_kind(item, self._meant(item, there))
            elif item.info.kind == "directory":
                self.missing.add(item.target)
                if item.target == item.root:
                    self.new_roots.add(item.root)

    def _meant(self, item: Item, there: FileInfo) -> FileInfo:
        """A symlink to a folder is that folder, unless a symlink is to replace it."""
        if there.kind == "symlink" != item.info.kind:
            meant = self.transport.stat(item.target, follow=True)
            if meant is not None and meant.kind == "directory":
                return meant
        return there

    def _check_kind(self, item: Item, there: FileInfo) -> None:
        shown, info = self.place.shown(item.target), item.info
        if there.kind == "other":
            raise TaskFailed(f"{shown}: is a FIFO, a socket or a device, which is not replaced")
        if info.kind == "directory" and there.kind != "directory":
            raise TaskFailed(f"{shown}: is a file, where a folder should go")
        if info.kind != "directory" and there.kind == "directory":
            raise TaskFailed(f"{shown}: is a folder, where a file should go")
        self.replaced_bytes += there.size_bytes
        if is_alike(info, there):
            self.alike.add(item.target)

    def _check_names(self, folder: str, items: Sequence[Item]) -> None:
        folder_bytes = len(os.fsencode(folder)) + 1
        folded: dict[str, str] = {}
        for item in items:
            target = item.target
            name = posixpath.basename(target)
            name_bytes = len(os.fsencode(name))
            if name_bytes > NAME_BYTES:
                raise TaskFailed(
                    f"{self.place.shown(target)}: a name of {name_bytes} bytes, at most {NAME_BYTES} can be"
                )
            if folder_bytes + name_bytes > _PATH_BYTES:
                raise TaskFailed(
                    f"{self.place.shown(target)}: a path of {folder_bytes + name_bytes:,} bytes, "
                    f"at most {_PATH_BYTES:,} can be"
                )
            other = folded.setdefault(name.casefold(), target)
            if other != target and self.case_clash is None:
                self.case_clash = other, target

    def _found(self, folder: str, items: Sequence[Item]) -> Iterable[FileInfo | None]:
        """What is at each target in ``folder``."""
        paths = [item.target for item in items]
        names = [posixpath.basename(path) for path in paths]
        if isinstance(self.transport, Lists) and (len(names) >= _LISTED_FROM or self.forerunners.are_possible):
            wanted = set(names)
            listing: dict[str, FileInfo] = {}
            try:
                for info in self.transport.entries(folder):
                    if info.path in wanted:
                        listing[info.path] = info
                    elif self.forerunners.are_possible:
                        self.forerunners.note(replace(info, path=posixpath.join(folder, info.path)))
            except NotFound:
                return [None] * len(names)
            self.folders.add(folder)
            return [listing.get(name) for name in names]
        if isinstance(self.transport, BulkNames):
            return self.transport.stat_many(paths)
        return map(self.transport.stat, paths)


def _check_room(place: Place, transport: Transport, target: Spot, items: Sequence[Item], looked: _Looked) -> None:
    # on this host the holes of a sparse file stay holes, so that its size says nothing
    if not isinstance(transport, Space) or isinstance(transport, Spawns):
        return
    total_bytes = sum(item.info.size_bytes for item in items)
    largest_bytes = max((item.info.size_bytes for item in items), default=0)
    needed_bytes = max(total_bytes - looked.replaced_bytes, largest_bytes)
    free_bytes = transport.free_bytes(target.path)
    if free_bytes is None or free_bytes >= needed_bytes:
        return
    # what forerunners have left: this execution goes on with it, or removes it
    for info in looked.forerunners.found.values():
        below = transport.walk(info.path) if info.kind == "directory" else [info]
        free_bytes += sum(each.size_bytes for each in below)
    if free_bytes < needed_bytes:
        folder = _nearest_folder(transport, target.path)
        raise NoSpace(f"{place.shown(folder)}: {needed_bytes:,} bytes are needed and {free_bytes:,} are free")


def _nearest_folder(transport: Transport, path: str) -> str:
    """``path``, or the nearest of the folders above it that is there."""
    while transport.stat(path, follow=True) is None and path != "/":
        path = posixpath.dirname(path)
    return path


def check_case(place: Place, transport: Transport, clash: tuple[str, str], execution: str) -> None:
    """``TaskFailed`` when the far side takes the two targets, which differ in case only, for one.

    A file is written to find out, and removed: only what is there can be asked for under another name.
    """
    folder = _nearest_folder(transport, posixpath.dirname(clash[0]))
    probe = posixpath.join(folder, f".case.wlm-{execution}")
    with place.told(folder):
        transport.write(probe, (), FileInfo(probe, "file"))
        try:
            is_one = transport.stat(posixpath.join(folder, f".CASE.wlm-{execution}")) is not None
        finally:
            transport.remove(probe)
    if is_one:
        raise TaskFailed(
            f"{place.shown(clash[0])} and {place.shown(clash[1])} would be one: "
            f"{place.name} does not tell upper from lower case there"
        )
