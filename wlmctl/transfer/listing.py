"""The items of a source: what is at its spot and all below it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import replace

from wlmctl.errors import Denied, NotFound, TaskFailed
from wlmctl.transfer.endpoint import Spot
from wlmctl.transfer.items import Item, Origin, Source, Symlinks
from wlmctl.transfer.pattern import Exclusion, expand
from wlmctl.transfer.place import Place
from wlmctl.transfer.unreadable import unreadable_folders
from wlmctl.transport import FileInfo, Lists, Transport

#: So deep may folders that are reached through symlinks lie in one another.
_SYMLINK_DEPTH = 20


def listed(
    source: Source, transport: Transport, target: Spot, symlinks: Symlinks, excluded: Exclusion
) -> Iterator[Item]:
    """Every item of ``source``, a folder before its content."""
    place, spot = source.place, source.spot
    found = expand(transport, spot.path) if spot.is_pattern else [spot.path]
    count = 0
    for path in found:
        name = posixpath.basename(path)
        info = transport.stat(path, follow=spot.is_folder or symlinks == Symlinks.FOLLOW)
        if info is None:
            if transport.stat(path) is not None:
                raise NotFound(f"{place.shown(path)}: is a symlink to what does not exist")
            raise NotFound(f"{place.shown(path)}: does not exist")
        if spot.is_folder and info.kind != "directory":
            if spot.is_pattern:
                continue  # as in a shell, a final slash picks the folders
            raise TaskFailed(f"{place.shown(path)}: the final slash means a folder's contents, and this is a file")
        if spot.is_pattern and excluded(name, is_folder=info.kind == "directory"):
            continue
        count += 1
        root = posixpath.join(target.path, name) if target.is_folder and not spot.is_folder else target.path
        origin = Origin(place, path, root)
        for below in _Tree(place, transport, symlinks, excluded).below(path, info):
            yield Item(origin, below)
    if spot.is_pattern and not count:
        raise NotFound(f"{place.shown(spot.path)}: nothing matches this pattern")


class _Tree:
    def __init__(self, place: Place, transport: Transport, symlinks: Symlinks, excluded: Exclusion) -> None:
        self._place, self._transport = place, transport
        self._symlinks, self._excluded = symlinks, excluded

    def below(
        self, path: str, info: FileInfo, prefix: str = "", above: tuple[str | None, ...] = ()
    ) -> Iterator[FileInfo]:
        """What is at ``path`` and all below it, each with its path below the origin.

        ``prefix`` is where ``path`` is below the origin, ``above`` which folders were followed into to come here.
        """
        self._check_kind(path, info)
        yield replace(info, path=prefix)
        if info.kind != "directory":
            return
        if (info.inode is not None and info.inode in above) or len(above) > _SYMLINK_DEPTH:
            raise TaskFailed(f"{self._place.shown(path)}: the symlinks followed here lead round in a circle")
        for below in self._walk(path, prefix):
            whole = f"{prefix}/{below.path}" if prefix else below.path
            if self._excluded(whole, is_folder=below.kind == "directory"):
                continue
            beneath = posixpath.join(path, below.path)
            if below.kind != "symlink" or self._symlinks != Symlinks.FOLLOW:
                self._check_kind(beneath, below)
                yield replace(below, path=whole) if prefix else below
                continue
            meant = self._transport.stat(beneath, follow=True)
            if meant is None:
                raise NotFound(f"{self._place.shown(beneath)}: is a symlink to what does not exist")
            yield from self.below(beneath, meant, whole, (*above, info.inode))

    def _walk(self, path: str, prefix: str) -> Iterator[FileInfo]:
        """All below ``path``; of what is excluded some may be left out."""
        given: set[str] = set()
        try:
            for below in self._transport.walk(path):
                if self._excluded:
                    given.add(below.path)
                yield below
        except Denied as error:
            if not self._excluded or not isinstance(self._transport, Lists):
                raise unreadable_folders(self._place, self._transport, path, error) from error
        else:
            return
        for below in self._listed_by_folder(self._transport, path, prefix):
            if below.path not in given:
                yield below

    def _listed_by_folder(self, transport: Lists, path: str, prefix: str) -> Iterator[FileInfo]:
        """All below ``path`` without going into folders that are excluded: they may be the ones that are closed."""

        def is_out(below: str) -> bool:
            return self._excluded(f"{prefix}/{below}" if prefix else below, is_folder=True)

        waiting = [""]
        while waiting:
            folder = waiting.pop()
            folders = []
            try:
                for info in transport.entries(posixpath.join(path, folder) if folder else path):
                    below = replace(info, path=f"{folder}/{info.path}" if folder else info.path)
                    yield below
                    if info.kind == "directory" and not is_out(below.path):
                        folders.append(below.path)
            except Denied as error:
                raise unreadable_folders(self._place, self._transport, path, error, is_out) from error
            waiting += reversed(folders)

    def _check_kind(self, path: str, info: FileInfo) -> None:
        if info.kind == "other":
            raise TaskFailed(f"{self._place.shown(path)}: is a FIFO, a socket or a device, which cannot be copied")
        if info.kind == "symlink" and self._symlinks == Symlinks.REFUSE:
            raise TaskFailed(f"{self._place.shown(path)}: is a symlink, and symlinks are refused here")
