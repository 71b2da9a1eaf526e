"""What is compared before a copy gets its final name."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum

from wlmctl.errors import Broken, TaskFailed, TransportError
from wlmctl.transfer.items import Item
from wlmctl.transfer.place import Place
from wlmctl.transport import Bulk, BulkNames, Digests, FileInfo, Spawns, Transport

log = logging.getLogger(__name__)


class Verify(StrEnum):
    """How a copy is compared with its source: by content at both ends, by size, or not at all."""

    SHA256 = "sha256"
    SIZE = "size"
    NONE = "none"


def tells_digest(transport: Transport) -> bool:
    """True for a far machine with a tool of its own for sha256; on this host what was read is what is there."""
    return isinstance(transport, Digests) and transport.can_digest and not isinstance(transport, Spawns)


def near_digest(
    transport: Transport, path: str, check: Callable[[], None], size_bytes: int | None = None
) -> str | None:
    """The sha256 of ``path``, or of its beginning, told by its own machine; None: it would have to come over the line.

    May be asked from another thread. On this host the file is read here, so that ``check`` can stop it.
    """
    if isinstance(transport, Spawns):
        return digest_by_reading(transport, path, check, size_bytes)
    return transport.digest(path, size_bytes) if isinstance(transport, Digests) else None


def digest_by_reading(transport: Transport, path: str, check: Callable[[], None], size_bytes: int | None = None) -> str:
    """The sha256 of ``path``, or of its beginning, read from its machine."""
    digest = hashlib.sha256()
    with drawn(transport, path) as chunks:
        for chunk in beginning(chunks, size_bytes):
            check()
            digest.update(chunk)
    return digest.hexdigest()


def beginning(chunks: Iterator[bytes], size_bytes: int | None) -> Iterator[bytes]:
    """The first ``size_bytes`` bytes of ``chunks``, or all of them."""
    left_bytes = size_bytes
    for chunk in chunks:
        if left_bytes is None:
            yield chunk
            continue
        if left_bytes:
            yield chunk[:left_bytes]
            left_bytes -= min(left_bytes, len(chunk))
        if not left_bytes:
            return


def content_of(transport: Transport, paths: Sequence[str]) -> Generator[tuple[str, bytes], None, None]:
    """The content of small files, in order; many in flight where the transport can. To be closed by who asks."""
    if isinstance(transport, Bulk):
        yield from transport.read_many(paths)
        return
    for path in paths:
        with drawn(transport, path) as chunks:
            yield path, b"".join(chunks)


def looked_at(transport: Transport, paths: Sequence[str]) -> list[FileInfo | None]:
    """What is at each path; many in flight where the transport can."""
    if isinstance(transport, BulkNames):
        return list(transport.stat_many(paths))
    return [transport.stat(path) for path in paths]


@contextmanager
def drawn(transport: Transport, path: str, offset: int = 0) -> Iterator[Iterator[bytes]]:
    """The chunks of a file, which is closed at the end of the ``with`` however far they were drawn."""
    chunks = transport.read(path, offset) if offset else transport.read(path)
    try:
        yield chunks
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


def check_size(place: Place, transport: Transport, path: str, size_bytes: int) -> None:
    """``Broken`` when the file at ``path`` has not ``size_bytes`` bytes."""
    check_sizes(place, transport, [(path, size_bytes)])


def check_sizes(place: Place, transport: Transport, sizes: Sequence[tuple[str, int]]) -> None:
    """``Broken`` when one of the files at these paths has not so many bytes."""
    for (path, size_bytes), there in zip(sizes, looked_at(transport, [path for path, _ in sizes]), strict=True):
        if there is None or there.size_bytes != size_bytes:
            found = "nothing" if there is None else f"{there.size_bytes:,} bytes"
            raise Broken(f"{place.shown(path)}: {found} arrived of {size_bytes:,} bytes")


def check_unchanged(transport: Transport, items: Sequence[Item]) -> None:
    """Look at the sources once more; ``TaskFailed`` names one that is not what it was when it was listed."""
    for item, now in zip(items, looked_at(transport, [item.path for item in items]), strict=True):
        if now is not None and now.kind == "symlink":
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
