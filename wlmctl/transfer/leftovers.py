"""Temporary paths: those of this execution, those it could not remove, and those that its forerunners have left."""

from __future__ import annotations

import logging
import posixpath
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from wlmctl.errors import Broken, NotFound, TransportError, Unreachable
from wlmctl.transfer.temporary import has_forerunners, is_forerunner, mark_of, temporary_path
from wlmctl.transport import FileInfo, Lists, Transport

log = logging.getLogger(__name__)


class Leftovers:
    """Paths by machine, for the life of a process; each is of an execution that has ended, so that nobody writes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: dict[str, set[str]] = {}

    def add(self, machine: str, paths: Iterable[str]) -> None:
        """These are still there."""
        left = set(paths)
        if left:
            with self._lock:
                self._paths.setdefault(machine, set()).update(left)

    def sweep(self, machine: str, transport: Transport) -> None:
        """Remove what is known to be left on the machine; what cannot be removed now is kept in mind."""
        if machine not in self._paths:
            return
        with self._lock:
            paths = self._paths.pop(machine, set())
        removed(transport, paths)
        if paths:
            self.add(machine, paths)


#: Those of this process.
LEFTOVERS = Leftovers()


class Temporaries:
    """The temporary paths of one execution. ``resumable`` ones are of use to an execution that comes after it."""

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self._resumable: set[str] = set()

    def add(self, *paths: str, resumable: bool = False) -> None:
        """These are about to be written."""
        self.paths.update(paths)
        if resumable:
            self._resumable.update(paths)

    def discard(self, path: str) -> None:
        """This one has its final name, or is gone."""
        self.paths.discard(path)
        self._resumable.discard(path)

    def leave(self) -> None:
        """What is resumable stays where it is, for whoever comes after."""
        self.paths -= self._resumable

    def sweep(self, transport: Transport) -> None:
        """Remove them, as far as this connection still can."""
        removed(transport, self.paths)


class Forerunners:
    """What earlier executions of the same work have left beside their targets."""

    def __init__(self, transport: Transport, execution: str) -> None:
        self._execution = execution
        self._lists = transport if isinstance(transport, Lists) and has_forerunners(execution) else None
        self._marks: dict[str, set[str]] = {}
        self.found: dict[str, FileInfo] = {}

    @property
    def are_possible(self) -> bool:
        """False when there can be none, or none can be found."""
        return self._lists is not None

    def look(self, folders: Iterable[str]) -> None:
        """List these folders; what cannot be listed holds nothing of use."""
        for folder in folders:
            if self._lists is None:
                return
            try:
                for entry in self._lists.entries(folder):
                    self.note(replace(entry, path=posixpath.join(folder, entry.path)))
            except TransportError as error:
                log.debug("%s is not looked at: %s", folder, error)

    def note(self, info: FileInfo) -> bool:
        """True when what is at ``info.path`` is a forerunner's: it is kept in mind."""
        folder, name = posixpath.split(info.path)
        if not is_forerunner(name, self._execution):
            return False
        self._marks.setdefault(folder, set()).add(mark_of(name))
        self.found[info.path] = info
        return True

    def of(self, target: str) -> list[FileInfo]:
        """Those for ``target``, the largest and newest first, with absolute paths."""
        paths = [temporary_path(target, mark) for mark in self._marks.get(posixpath.dirname(target), ())]
        mine = [self.found[path] for path in paths if path in self.found]
        return sorted(mine, key=lambda info: (info.size_bytes, info.mtime_s), reverse=True)


def sweep_forerunners(transport: Transport, folders: Iterable[str], execution: str) -> None:
    """Remove what earlier executions of the same work have left in these folders, as far as that can be done."""
    forerunners = Forerunners(transport, execution)
    forerunners.look(folders)
    removed(transport, set(forerunners.found))


def removed(transport: Transport, paths: set[str]) -> None:
    """Remove what is at ``paths`` and take it out of the set, as far as this connection still can."""
    for path in sorted(paths):
        try:
            with suppress(NotFound):
                transport.remove(path)
        except TransportError as error:
            log.debug("%s is still there: %s", path, error)
            if isinstance(error, Broken | Unreachable):
                return
        else:
            paths.discard(path)
