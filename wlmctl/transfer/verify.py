"""What is compared before a copy gets its final name."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum

from wlmctl.errors import Broken, TaskFailed, TransportError
from wlmctl.transfer.place import Place
from wlmctl.transfer.plan import Item
from wlmctl.transport import Bulk, Digests, FileInfo, Lists, Transport

log = logging.getLogger(__name__)

#: From so many files of one folder on, the folder is listed instead of asking for each.
_LISTED_FROM = 8


class Verify(StrEnum):
    """How a copy is compared with its source: by content at both ends, by size, or not at all."""

    SHA256 = "sha256"
    SIZE = "size"
    NONE = "none"


def far_digest(transport: Transport, path: str, check: Callable[[], None]) -> tuple[str, bool]:
    """The sha256 of ``path`` as its machine has it, and whether it had to be read back to be known."""
    check()
    known = transport.digest(path) if isinstance(transport, Digests) else None
    if known is not None:
        return known, False
    digest = hashlib.sha256()
    with drawn(transport, path) as chunks:
        for chunk in chunks:
            check()
            digest.update(chunk)
    return digest.hexdigest(), True


def content_of(transport: Transport, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """The content of small files, in order; many in flight where the transport can."""
    if isinstance(transport, Bulk):
        yield from transport.read_many(paths)
        return
    for path in paths:
        with drawn(transport, path) as chunks:
            yield path, b"".join(chunks)


@contextmanager
def drawn(transport: Transport, path: str) -> Iterator[Iterator[bytes]]:
    """The chunks of a file, which is closed at the end of the ``with`` however far they were drawn."""
    chunks = transport.read(path)
    try:
        yield chunks
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


def check_size(place: Place, transport: Transport, path: str, size_bytes: int) -> None:
    """``Broken`` when the file at ``path`` has not ``size_bytes`` bytes."""
    there = transport.stat(path)
    if there is None or there.size_bytes != size_bytes:
        found = "nothing" if there is None else f"{there.size_bytes:,} bytes"
        raise Broken(f"{place.shown(path)}: {found} arrived of {size_bytes:,} bytes")


def check_unchanged(transport: Transport, items: Sequence[Item]) -> None:
    """Look at the sources once more; ``TaskFailed`` names one that is not what it was when it was listed."""
    listings: dict[str, dict[str, FileInfo]] = {}
    for item in items:
        folder, _, name = item.path.rpartition("/")
        now: FileInfo | None = None
        if len(items) >= _LISTED_FROM and isinstance(transport, Lists):
            if folder not in listings:
                listings[folder] = {info.path: info for info in transport.entries(folder or "/")}
            now = listings[folder].get(name)
        if now is None or now.kind == "symlink":
            now = transport.stat(item.path, follow=True)
        difference = _difference(item.info, now)
        if difference:
            raise changed(item, difference)


def how_changed(transport: Transport, items: Sequence[Item]) -> TaskFailed | None:
    """The error for a source that is not what was listed, as far as the connection can still tell."""
    try:
        check_unchanged(transport, items)
    except TaskFailed as error:
        return error
    except TransportError as error:
        log.debug("cannot look at the sources again: %s", error)
    return None


def changed(item: Item, how: str) -> TaskFailed:
    """The error for a source that changed while it was copied."""
    return TaskFailed(f"{item.place.shown(item.path)}: {how} while it was copied; nothing of it was delivered")


def _difference(before: FileInfo, now: FileInfo | None) -> str:
    if now is None:
        return "disappeared"
    if now.size_bytes != before.size_bytes:
        verb = "grew" if now.size_bytes > before.size_bytes else "shrank"
        return f"{verb} from {before.size_bytes:,} to {now.size_bytes:,} bytes"
    if now.mtime_s != before.mtime_s and not _is_rounded(now.mtime_s, before.mtime_s):
        return "was written to"
    if before.inode is not None and now.inode is not None and now.inode != before.inode:
        return "was replaced"
    return ""


def _is_rounded(one_s: float, other_s: float) -> bool:
    """True for one time of which a way of looking tells the whole seconds only."""
    return int(one_s) == int(other_s) and (one_s.is_integer() or other_s.is_integer())
