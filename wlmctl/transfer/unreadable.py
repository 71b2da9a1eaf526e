"""What of a source cannot be read: all of it named in one error, so that the user mends it in one go."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from wlmctl.errors import Denied, TransportError
from wlmctl.transfer.items import Item
from wlmctl.transfer.place import Place
from wlmctl.transfer.verify import drawn
from wlmctl.transport import Lists, Transport

#: So many are named.
_NAMED = 20
#: So many files are tried at most.
_TRIED = 2000
_READABLE_BY_ALL = 0o004


class Unreadable(Denied):
    """A source that may not be read."""

    def __init__(self, error: Denied) -> None:
        super().__init__(str(error))
        self.is_located = True  # its message names the source already, whichever end is told of it


def unreadable_folders(
    place: Place, transport: Transport, folder: str, first: Denied, is_out: Callable[[str], bool] = lambda _: False
) -> Denied:
    """The error for a tree that cannot be listed whole: names every folder below ``folder`` that cannot.

    ``is_out`` says of a path below it that it is no matter.
    """
    if not isinstance(transport, Lists):
        return first
    try:
        return _error(place, _closed(transport, folder, is_out), first)
    except TransportError:
        return first


def unreadable_files(transport: Transport, items: Iterable[Item], first: Denied, check: Callable[[], None]) -> Denied:
    """The error for a file that cannot be read: names each of ``items`` with which it is the same.

    Of those that everybody may read, nothing is tried.
    """
    doubtful = (item for item in items if item.info.kind == "file" and not item.info.mode & _READABLE_BY_ALL)
    tried = list(islice(doubtful, _TRIED))
    if not tried:
        return first
    try:
        return _error(tried[0].place, _refused(transport, tried, check), first)
    except TransportError:
        return first


def _closed(transport: Lists, root: str, is_out: Callable[[str], bool]) -> Iterator[str]:
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            names = [info.path for info in transport.entries(folder) if info.kind == "directory"]
        except Denied:
            yield folder
        else:
            below = [posixpath.join(folder, name) for name in reversed(names)]
            pending.extend(path for path in below if not is_out(posixpath.relpath(path, root)))


def _refused(transport: Transport, items: Iterable[Item], check: Callable[[], None]) -> Iterator[str]:
    for item in items:
        check()
        try:
            with drawn(transport, item.path) as chunks:
                next(chunks, b"")
        except Denied:
            yield item.path


def _error(place: Place, paths: Iterator[str], first: Denied) -> Denied:
    named = list(islice(paths, _NAMED))
    if len(named) < 2:
        return first
    more = ", and more" if next(paths, None) is not None else ""
    error = Denied(f"cannot be read: {', '.join(map(place.shown, named))}{more}")
    error.is_located = True  # type: ignore[attr-defined]
    return error
