"""Small files in batches: read together, written together, compared together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing

from wlmctl.errors import Broken, Denied, TransportError
from wlmctl.transfer.items import Item
from wlmctl.transfer.place import Ends
from wlmctl.transfer.progress import Tally
from wlmctl.transfer.same import mend, same_size
from wlmctl.transfer.unreadable import Unreadable
from wlmctl.transfer.verify import (
    Verify,
    changed,
    check_sizes,
    check_unchanged,
    content_of,
    digest_by_reading,
    how_changed,
    near_digest,
)
from wlmctl.transport import CHUNK_BYTES, Bulk, Transport

#: What one batch holds at most, in memory.
BATCH_BYTES = 8 * 1024 * 1024
BATCH_FILES = 512

Pair = tuple[Item, str]


def is_small(item: Item) -> bool:
    """True for a file that goes in a batch."""
    return item.info.kind == "file" and item.info.size_bytes <= CHUNK_BYTES


def batches(items: Iterable[Item]) -> Iterator[list[Item]]:
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


def send_batch(ends: Ends, batch: Sequence[Pair], there: Mapping[str, str], verify: Verify, tally: Tally) -> list[Pair]:
    """Copy each item to its temporary path and compare; returns those that were sent.

    ``there`` says by the item's target where it may be already: those that are it are left out.
    """
    place = batch[0][0].place
    at = [(item, there[item.target]) for item, _ in batch if item.target in there] if there else []
    with ends.to.told(batch[0][0].target):
        alike = same_size(ends.destination, at, verify)
    if verify == Verify.SIZE and alike:
        batch = [pair for pair in batch if there.get(pair[0].target) not in alike]
    contents = _read(ends.source, [item for item, _ in batch], tally.check)
    pairs = list(zip(batch, contents, strict=True))
    with ends.to.told(at[0][0].target if at else ""):
        if verify == Verify.SHA256 and alike:
            alike = {path: alike[path] for path in _equal(ends.destination, pairs, there, alike)}
            pairs = [pair for pair in pairs if there.get(pair[0][0].target) not in alike]
        for item, path in at:
            if path in alike:
                mend(ends.destination, item, path, alike[path])
    if pairs:
        with ends.to.told(pairs[0][0][0].target):
            _write(ends.destination, pairs, tally)
            _compare(ends, pairs, verify, tally)
        with place.told(pairs[0][0][0].path):
            check_unchanged(ends.source, [item for (item, _), _ in pairs])
    return [pair for pair, _ in pairs]


def _equal(
    destination: Transport,
    pairs: Sequence[tuple[Pair, bytes]],
    there: Mapping[str, str],
    alike: Mapping[str, object],
) -> set[str]:
    """Those of the ``alike`` paths that have the item's content: many small reads cost less than a digest of each."""
    wanted = {path: content for (item, _), content in pairs if (path := there.get(item.target)) in alike and path}
    return {path for path, content in content_of(destination, list(wanted)) if content == wanted[path]}


def _read(source: Transport, items: Sequence[Item], check: Callable[[], None]) -> list[bytes]:
    contents: list[bytes] = []
    if not items:
        return contents
    try:
        asked = content_of(source, [item.path for item in items])
        with items[0].place.told(items[0].path), closing(asked) as read:
            for item, (_, content) in zip(items, read, strict=True):
                check()
                if len(content) != item.info.size_bytes:
                    raise how_changed(source, [item]) or changed(
                        item, f"gave {len(content):,} of {item.info.size_bytes:,} bytes"
                    )
                contents.append(content)
    except TransportError as error:
        # a transport may break off over a source that changes under its hands: then that is what to tell
        changed_meanwhile = how_changed(source, items)
        if changed_meanwhile is not None:
            raise changed_meanwhile from error
        if isinstance(error, Denied):
            raise Unreadable(error) from error
        raise
    return contents


def _write(destination: Transport, pairs: Sequence[tuple[Pair, bytes]], tally: Tally) -> None:
    size_bytes = sum(len(content) for _, content in pairs)
    tally.pace(size_bytes)
    if isinstance(destination, Bulk):
        destination.write_many((path, content, item.info) for (item, path), content in pairs)
        tally.sent(size_bytes)
        return
    for (item, path), content in pairs:
        destination.write(path, (content,) if content else (), item.info)
        tally.sent(len(content))


def _compare(ends: Ends, pairs: Sequence[tuple[Pair, bytes]], verify: Verify, tally: Tally) -> None:
    if verify == Verify.SIZE:
        check_sizes(ends.to, ends.destination, [(path, item.info.size_bytes) for (item, path), _ in pairs])
    if verify != Verify.SHA256:
        return
    if isinstance(ends.destination, Bulk):
        # many small reads in flight cost less than a digest command for each
        with closing(content_of(ends.destination, [path for (_, path), _ in pairs])) as arrived:
            for ((item, _), content), (_, back) in zip(pairs, arrived, strict=True):
                if back != content:
                    raise Broken(f"{ends.to.shown(item.target)}: arrived with another content than it was sent with")
        tally.read_back += len(pairs)
        return
    for (item, path), content in pairs:
        digest = near_digest(ends.destination, path, tally.check)
        if digest is None:
            digest = digest_by_reading(ends.destination, path, tally.check)
            tally.read_back += 1
        if digest != hashlib.sha256(content).hexdigest():
            raise Broken(f"{ends.to.shown(item.target)}: arrived with another sha256 than it was sent with")
