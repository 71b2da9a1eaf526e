"""What a transfer would do: every source listed, every target named, everything checked before the first byte."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from wlmctl.errors import NotFound, TaskFailed
from wlmctl.transfer.endpoint import Spot
from wlmctl.transfer.pattern import Exclusion, expand
from wlmctl.transfer.place import Place
from wlmctl.transfer.target import check_targets
from wlmctl.transport import FileInfo, Transport

#: So deep may folders that are reached through symlinks lie in one another.
_SYMLINK_DEPTH = 20


class Symlinks(StrEnum):
    """What becomes of a symlink: it is made again, what it points at is copied, or the transfer is refused."""

    KEEP = "keep"
    FOLLOW = "follow"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Source:
    """One ``from``: a spot on a machine."""

    place: Place
    spot: Spot


@dataclass(frozen=True, slots=True)
class Item:
    """One file, folder or symlink to copy from ``path``. ``root`` is the target of the whole source it belongs to."""

    place: Place
    path: str
    target: str
    root: str
    info: FileInfo


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be copied, a folder before its content. ``new_roots``: folder targets that do not exist yet."""

    to: Place
    items: tuple[Item, ...]
    new_roots: frozenset[str] = frozenset()

    @property
    def files(self) -> int:
        """How many files and symlinks there are."""
        return sum(item.info.kind != "directory" for item in self.items)

    @property
    def size_bytes(self) -> int:
        """The size of all files together."""
        return sum(item.info.size_bytes for item in self.items)


def plan(
    sources: Sequence[Source],
    to: Place,
    target: Spot,
    *,
    symlinks: Symlinks = Symlinks.KEEP,
    exclude: Sequence[str] = (),
    check: Callable[[], None] = lambda: None,
) -> Plan:
    """List every source and check every target; nothing is written.

    Raises ``NotFound``, ``Denied``, ``NoSpace``, or ``TaskFailed`` for a clash of names or kinds, each naming the path.
    """
    if not target.is_folder and (len(sources) > 1 or any(source.spot.is_pattern for source in sources)):
        raise TaskFailed(f"{to.shown(target.path)}: several sources or a pattern need a target with a final slash")
    gathered = _Gathered(to)
    for source in sources:
        with source.place.lease() as transport, source.place.told(source.spot.path):
            for item in _listed(source, transport, target, symlinks, Exclusion(exclude)):
                check()
                gathered.add(item, is_contents=source.spot.is_folder)
    items = tuple(gathered.items.values())
    with to.lease() as transport, to.told(target.path):
        new_roots = check_targets(to, transport, target, items, check)
    return Plan(to, items, new_roots)


class _Gathered:
    """The items by target: two sources for one name are an error, but the contents of two folders may share folders."""

    def __init__(self, to: Place) -> None:
        self.items: dict[str, Item] = {}
        self._to = to
        self._named: set[str] = set()

    def add(self, item: Item, *, is_contents: bool) -> None:
        other = self.items.setdefault(item.target, item)
        is_named = item.target == item.root and not is_contents
        if other is not item and not (other.place == item.place and other.path == item.path):
            both_folders = other.info.kind == item.info.kind == "directory"
            if is_named or item.target in self._named or not both_folders:
                raise TaskFailed(
                    f"two sources for one name: {other.place.shown(other.path)} and {item.place.shown(item.path)} "
                    f"would both become {self._to.shown(item.target)}"
                )
        if is_named:
            self._named.add(item.target)


def _listed(
    source: Source, transport: Transport, target: Spot, symlinks: Symlinks, excluded: Exclusion
) -> Iterator[Item]:
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
        for rest, below in _tree(place, transport, path, info, symlinks, excluded):
            yield Item(place, path + rest, root + rest, root, below)
    if spot.is_pattern and not count:
        raise NotFound(f"{place.shown(spot.path)}: nothing matches this pattern")


def _tree(
    place: Place,
    transport: Transport,
    path: str,
    info: FileInfo,
    symlinks: Symlinks,
    excluded: Exclusion,
    prefix: str = "",
    above: tuple[str | None, ...] = (),
) -> Iterator[tuple[str, FileInfo]]:
    """``path`` and all below it, each as (what follows ``path``, info).

    ``prefix`` says where in its source it is, ``above`` which folders were followed into to come here.
    """
    _check_kind(place, path, info, symlinks)
    yield "", info
    if info.kind != "directory":
        return
    if (info.inode is not None and info.inode in above) or len(above) > _SYMLINK_DEPTH:
        raise TaskFailed(f"{place.shown(path)}: the symlinks followed here lead round in a circle")
    for below in transport.walk(path):
        whole = prefix + below.path
        if excluded(whole, is_folder=below.kind == "directory"):
            continue
        beneath = posixpath.join(path, below.path)
        if below.kind != "symlink" or symlinks != Symlinks.FOLLOW:
            _check_kind(place, beneath, below, symlinks)
            yield f"/{below.path}", below
            continue
        meant = transport.stat(beneath, follow=True)
        if meant is None:
            raise NotFound(f"{place.shown(beneath)}: is a symlink to what does not exist")
        for rest, info_below in _tree(
            place, transport, beneath, meant, symlinks, excluded, f"{whole}/", (*above, info.inode)
        ):
            yield f"/{below.path}{rest}", info_below


def _check_kind(place: Place, path: str, info: FileInfo, symlinks: Symlinks) -> None:
    if info.kind == "other":
        raise TaskFailed(f"{place.shown(path)}: is a FIFO, a socket or a device, which cannot be copied")
    if info.kind == "symlink" and symlinks == Symlinks.REFUSE:
        raise TaskFailed(f"{place.shown(path)}: is a symlink, and symlinks are refused here")
