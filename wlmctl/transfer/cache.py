"""``<scratch>/cache/<sha256>``: what was brought to a machine once, given out there to whoever wants it next."""

from __future__ import annotations

import logging
import posixpath
import time
from collections.abc import Callable
from contextlib import suppress

from wlmctl.errors import Broken, TransportError, Unreachable
from wlmctl.transfer.asked import Asked
from wlmctl.transfer.items import Item
from wlmctl.transfer.place import Ends
from wlmctl.transfer.resume import can_resume
from wlmctl.transfer.temporary import temporary_path
from wlmctl.transfer.verify import near_digest
from wlmctl.transport import Attributes, Copies, FileInfo, Lists, Transport

log = logging.getLogger(__name__)

#: A smaller file is sent again sooner than it is looked for.
CACHED_FROM_BYTES = 1024 * 1024

_READ_ONLY = 0o444


class Cache:
    """The entries in ``folder`` at the destination: read-only, compared before use; mtime is when one was last used."""

    def __init__(self, ends: Ends, folder: str, execution: str, check: Callable[[], None]) -> None:
        self._ends, self._folder, self._execution, self._check = ends, folder, execution, check
        self._entries = _entries(ends.destination, folder)

    def give(self, item: Item, path: str) -> bool:
        """Put the content of ``item`` at ``path`` out of the cache; False: it is not there."""
        if item.info.size_bytes not in self._entries.values():
            return False
        with item.place.told(item.path):
            digest = Asked(lambda going: near_digest(self._ends.source, item.path, going)).answer(self._check)
        if digest is None or self._entries.get(digest) != item.info.size_bytes:
            return False
        try:
            return self._given(digest, item.info, path)
        except (Broken, Unreachable):
            raise
        except TransportError as error:  # somebody may have cleaned meanwhile: then it is sent
            log.debug("%s is not taken from the cache: %s", digest, error)
            return False

    def keep(self, path: str, sha256: str, size_bytes: int) -> None:
        """Make an entry of the file at ``path``, which was compared; without room there is none."""
        destination = self._ends.destination
        if size_bytes < CACHED_FROM_BYTES or sha256 in self._entries or not _is_able(destination):
            return
        assert isinstance(destination, Copies)
        entry = posixpath.join(self._folder, sha256)
        temporary = temporary_path(entry, self._execution)
        try:
            destination.makedirs(self._folder, 0o700)
            if destination.copy(path, temporary):
                self._use(temporary, size_bytes)
                destination.rename(temporary, entry)
                self._entries[sha256] = size_bytes
        except (Broken, Unreachable):
            raise
        except TransportError as error:
            log.debug("%s is not kept: %s", sha256, error)
            with suppress(TransportError):
                destination.remove(temporary)

    def _given(self, digest: str, info: FileInfo, path: str) -> bool:
        destination = self._ends.destination
        assert isinstance(destination, Copies)
        assert isinstance(destination, Attributes)
        entry = posixpath.join(self._folder, digest)
        if not destination.copy(entry, path):
            return False
        if Asked(lambda going: near_digest(destination, path, going)).answer(self._check) != digest:
            log.warning("%s in the cache is not what its name says, and is removed", entry)
            destination.remove(path)
            destination.remove(entry)
            del self._entries[digest]
            return False
        destination.set_attributes(path, info)
        self._use(entry, info.size_bytes)
        return True

    def _use(self, entry: str, size_bytes: int) -> None:
        destination = self._ends.destination
        assert isinstance(destination, Attributes)
        destination.set_attributes(entry, FileInfo(entry, "file", size_bytes, _READ_ONLY, time.time()))


def _is_able(transport: Transport) -> bool:
    return can_resume(transport) and isinstance(transport, Lists)


def _entries(transport: Transport, folder: str) -> dict[str, int]:
    if not _is_able(transport):
        return {}
    assert isinstance(transport, Lists)
    try:
        return {info.path: info.size_bytes for info in transport.entries(folder) if info.kind == "file"}
    except TransportError as error:
        log.debug("%s is not looked at: %s", folder, error)
        return {}
