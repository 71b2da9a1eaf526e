"""Going on where an earlier execution was cut: from a beginning that is proven to be the source's, never from another.

The earlier one may still be writing, or its server may: so its file is never written on, but copied on the far side,
and the copy is compared.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from wlmctl.errors import Broken, TransportError, Unreachable
from wlmctl.transfer.asked import Asked
from wlmctl.transfer.hashing import Hashing
from wlmctl.transfer.items import Item
from wlmctl.transfer.leftovers import removed
from wlmctl.transfer.place import Ends
from wlmctl.transfer.verify import beginning, digest_by_reading, drawn, near_digest
from wlmctl.transport import Appends, Attributes, Copies, FileInfo, Spawns, Transport

log = logging.getLogger(__name__)

#: A shorter beginning is sent again sooner than it is compared.
RESUME_FROM_BYTES = 4 * 1024 * 1024


class Begun(NamedTuple):
    """So many bytes of a file are there; ``is_hashed``: its hashing was fed with them."""

    offset: int
    is_hashed: bool


_NOTHING = Begun(0, True)


def can_resume(destination: Transport) -> bool:
    """True when a file can be gone on with at this end."""
    return isinstance(destination, Appends) and isinstance(destination, Attributes) and isinstance(destination, Copies)


def begin(
    ends: Ends, item: Item, path: str, found: Sequence[FileInfo], hashing: Hashing, check: Callable[[], None]
) -> Begun:
    """Put into ``path`` the longest beginning of ``item`` that ``found``, of ended executions, gives; remove those."""
    begun = _NOTHING
    for info in found:
        check()
        if not begun.offset and RESUME_FROM_BYTES <= info.size_bytes <= item.info.size_bytes:
            try:
                begun = _taken_over(ends, item, path, info, hashing, check)
            except (Broken, Unreachable):
                raise
            except TransportError as error:  # no room for a copy, or it is gone: it is sent from its beginning
                log.debug("%s is not gone on with: %s", info.path, error)
        removed(ends.destination, {info.path})
    if found and not begun.offset:
        removed(ends.destination, {path})
    return begun


def _taken_over(
    ends: Ends, item: Item, path: str, info: FileInfo, hashing: Hashing, check: Callable[[], None]
) -> Begun:
    destination = ends.destination
    if not isinstance(destination, Copies) or not can_resume(destination):
        return _NOTHING
    if not destination.copy(info.path, path):
        return _NOTHING
    there = destination.stat(path)
    if there is None or not RESUME_FROM_BYTES <= there.size_bytes <= item.info.size_bytes:
        return _NOTHING
    size_bytes = there.size_bytes
    arrived = Asked(lambda going: near_digest(destination, path, going, size_bytes))
    try:
        with item.place.told(item.path):
            kept, is_hashed = _source_digest(ends.source, item, size_bytes, hashing, check)
        found = arrived.answer(check)
    finally:
        arrived.give_up()
    if found is None:
        found = digest_by_reading(destination, path, check, size_bytes)
    if found == kept:
        return Begun(size_bytes, is_hashed)
    hashing.restart()
    return _NOTHING


def _source_digest(
    source: Transport, item: Item, size_bytes: int, hashing: Hashing, check: Callable[[], None]
) -> tuple[str, bool]:
    """The sha256 of the item's beginning, and whether ``hashing`` was fed with it."""
    if not isinstance(source, Spawns):
        kept = Asked(lambda going: near_digest(source, item.path, going, size_bytes)).answer(check)
        if kept is not None:
            return kept, False
    with drawn(source, item.path) as chunks:
        for chunk in beginning(chunks, size_bytes):
            check()
            hashing.update(chunk)
    return hashing.hexdigest(), True
