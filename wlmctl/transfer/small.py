"""Small files in batches: read together, written together, compared together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

from wlmctl.errors import Broken, TransportError
from wlmctl.transfer.place import Place
from wlmctl.transfer.plan import Item
from wlmctl.transfer.progress import Tally
from wlmctl.transfer.verify import Verify, changed, check_size, check_unchanged, content_of, far_digest, how_changed
from wlmctl.transport import CHUNK_BYTES, Bulk, Transport

#: What one batch holds at most, in memory.
BATCH_BYTES = 8 * 1024 * 1024
BATCH_FILES = 256


def is_small(item: Item) -> bool:
    """True for a file that goes in a batch."""
    return item.info.kind == "file" and item.info.size_bytes <= CHUNK_BYTES


def batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    """``items``, all small, in order, in batches."""
    batch: list[Item] = []
    size_bytes = 0
    for item in items:
        if batch and (len(batch) >= BATCH_FILES or size_bytes + item.info.size_bytes > BATCH_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(item)
        size_bytes += item.info.size_bytes
    if batch:
        yield batch


def send_batch(
    source: Transport,
    destination: Transport,
    to: Place,
    batch: Sequence[tuple[Item, str]],
    verify: Verify,
    tally: Tally,
) -> int:
    """Copy each item to its temporary path and compare; returns how many were read back for that."""
    place = batch[0][0].place
    with place.told(batch[0][0].path):
        try:
            contents = _read(source, [item for item, _ in batch], tally.check)
        except TransportError as error:
            # a transport may break off over a source that changes under its hands: then that is what to tell
            changed_meanwhile = how_changed(source, [item for item, _ in batch])
            if changed_meanwhile is not None:
                raise changed_meanwhile from error
            raise
    with to.told(batch[0][0].target):
        _write(destination, batch, contents, tally)
        read_back = _compare(destination, to, batch, contents, verify, tally.check)
    with place.told(batch[0][0].path):
        check_unchanged(source, [item for item, _ in batch])
    return read_back


def _read(source: Transport, items: Sequence[Item], check: Callable[[], None]) -> list[bytes]:
    contents: list[bytes] = []
    for item, (_, content) in zip(items, content_of(source, [item.path for item in items]), strict=True):
        check()
        if len(content) != item.info.size_bytes:
            raise how_changed(source, [item]) or changed(
                item, f"gave {len(content):,} of {item.info.size_bytes:,} bytes"
            )
        contents.append(content)
    return contents


def _write(
    destination: Transport,
    batch: Sequence[tuple[Item, str]],
    contents: Sequence[bytes],
    tally: Tally,
) -> None:
    tally.pace(sum(map(len, contents)))
    if isinstance(destination, Bulk):
        destination.write_many(
            (path, content, item.info) for (item, path), content in zip(batch, contents, strict=True)
        )
        tally.sent(sum(map(len, contents)))
        return
    for (item, path), content in zip(batch, contents, strict=True):
        destination.write(path, (content,) if content else (), item.info)
        tally.sent(len(content))


def _compare(
    destination: Transport,
    to: Place,
    batch: Sequence[tuple[Item, str]],
    contents: Sequence[bytes],
    verify: Verify,
    check: Callable[[], None],
) -> int:
    if verify == Verify.SIZE:
        for item, path in batch:
            check_size(to, destination, path, item.info.size_bytes)
    if verify != Verify.SHA256:
        return 0
    if isinstance(destination, Bulk):
        # many small reads in flight cost less than a digest command for each
        arrived = destination.read_many([path for _, path in batch])
        for (item, _), content, (_, back) in zip(batch, contents, arrived, strict=True):
            if back != content:
                raise Broken(f"{to.shown(item.target)}: arrived with another content than it was sent with")
        return len(batch)
    read_back = 0
    for (item, path), content in zip(batch, contents, strict=True):
        digest, was_read_back = far_digest(destination, path, check)
        read_back += was_read_back
        if digest != hashlib.sha256(content).hexdigest():
            raise Broken(f"{to.shown(item.target)}: arrived with another sha256 than it was sent with")
    return read_back
