"""Temporary paths that an execution could not remove because their machine was away: whoever is there next does."""

from __future__ import annotations

import logging
import posixpath
import threading
from collections.abc import Iterable
from contextlib import suppress

from wlmctl.errors import NotFound, TransportError
from wlmctl.transfer.temporary import has_forerunners, is_forerunner
from wlmctl.transport import Lists, Transport

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
        for path in sorted(paths):
            try:
                with suppress(NotFound):
                    transport.remove(path)
            except TransportError as error:
                log.debug("%s is still on %s: %s", path, machine, error)
            else:
                paths.discard(path)
        if paths:
            self.add(machine, paths)


def sweep_forerunners(transport: Transport, folders: Iterable[str], execution: str) -> None:
    """Remove what killed executions of the same attempt have left in these folders, as far as that can be done."""
    if not has_forerunners(execution) or not isinstance(transport, Lists):
        return
    for folder in sorted(set(folders)):
        try:
            stale = [entry.path for entry in transport.entries(folder) if is_forerunner(entry.path, execution)]
            for name in stale:
                transport.remove(posixpath.join(folder, name))
        except TransportError as error:
            log.debug("%s is not swept: %s", folder, error)


#: Those of this process.
LEFTOVERS = Leftovers()
