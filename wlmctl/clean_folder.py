"""Removing an experiment's folder on one machine, in an order that keeps its fences and exit files until the end."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from wlmctl.transport import FileInfo, Lists, Transport

#: Where the attempts' fences, exit files and logs lie, in the experiment's folder.
PRIVATE = ".wlmctl"

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}-[a-z2-7]{6}(\.[1-9][0-9]{0,9})?")


def clean_folders(transport: Transport, folder: str) -> bool:
    """Remove ``folder``, which is ``<scratch>/<id>``; what holds the fences and exit files goes last.

    False when there was nothing. Harmless to repeat, also after an end half-way. Raises the transport's errors, and
    ``ValueError`` for a path whose last part is no experiment's id.
    """
    folder = folder.rstrip("/")
    if not folder.startswith("/") or not is_experiment(posixpath.basename(folder)):
        raise ValueError(f"{folder!r} is no folder of an experiment")
    info = transport.stat(folder)
    if info is None:
        return False
    if info.kind == "directory":
        for name in top_names(transport, folder):
            if name != PRIVATE:
                transport.remove(f"{folder}/{name}")
    transport.remove(folder)
    return True


def is_experiment(name: str) -> bool:
    """True for a name that the folder of an experiment can have."""
    return _ID.fullmatch(name) is not None


def top_names(transport: Transport, folder: str) -> list[str]:
    """The names of what lies directly in ``folder``."""
    return [info.path for info in _entries(transport, folder)]


def _entries(transport: Transport, folder: str) -> Iterator[FileInfo]:
    if isinstance(transport, Lists):
        yield from transport.entries(folder)
    else:
        yield from (info for info in transport.walk(folder) if "/" not in info.path)
