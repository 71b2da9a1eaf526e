"""What the target has already, and need not be sent: only its mode and time are mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from wlmctl.transfer.asked import Asked
from wlmctl.transfer.items import Item, Plan
from wlmctl.transfer.place import Ends
from wlmctl.transfer.verify import Verify, drawn, looked_at, near_digest
from wlmctl.transport import Attributes, FileInfo, Transport


def same_size(destination: Transport, there: Sequence[tuple[Item, str]], verify: Verify) -> dict[str, FileInfo]:
    """What is at those of the paths where a file may have the item's content already, by path.

    By content (``Verify.SHA256``) that is each of its size; by size, as rsync does, each of its size and time.
    """
    if verify == Verify.NONE or not there:
        return {}
    found = looked_at(destination, [path for _, path in there])
    return {
        path: info
        for (item, path), info in zip(there, found, strict=True)
        if info is not None
        and (info.kind, info.size_bytes) == ("file", item.info.size_bytes)
        and (verify == Verify.SHA256 or int(info.mtime_s) == int(item.info.mtime_s))
    }


def likely_there(plan: Plan, verify: Verify) -> frozenset[str]:
    """The targets of a plan that need not be sent, as names, sizes and times tell: nothing is read.

    Under ``Verify.SHA256`` their content may still prove to be another.
    """
    alike = [item for item in plan.items if item.target in plan.targets.alike]
    found = {item.target for item in alike if item.info.kind == "symlink"}
    files = [(item, item.target) for item in alike if item.info.kind == "file"]
    if files and verify != Verify.NONE:
        with plan.to.lease() as destination, plan.to.told(files[0][1]):
            found.update(same_size(destination, files, verify))
    return frozenset(found)


def is_there(ends: Ends, item: Item, path: str, verify: Verify, check: Callable[[], None]) -> bool:
    """True when the file at ``path`` is what ``item`` is; its mode and time are mended then."""
    found = same_size(ends.destination, [(item, path)], verify)
    if not found or (verify == Verify.SHA256 and not _has_content(ends, item, path, check)):
        return False
    mend(ends.destination, item, path, found[path])
    return True


def mend(destination: Transport, item: Item, path: str, there: FileInfo) -> None:
    """Give a file that has the content the mode and time of ``item``; an end without such things has its own."""
    differs = (there.mode, int(there.mtime_s)) != (item.info.mode, int(item.info.mtime_s))
    if differs and isinstance(destination, Attributes):
        destination.set_attributes(path, item.info)


def _has_content(ends: Ends, item: Item, path: str, check: Callable[[], None]) -> bool:
    """By the digests of both ends, taken at once; else by reading both until they differ."""
    there = Asked(lambda going: near_digest(ends.destination, path, going))
    here = Asked(lambda going: near_digest(ends.source, item.path, going))
    try:
        with item.place.told(item.path):
            one = here.answer(check)
        other = there.answer(check)
    finally:
        here.give_up()
        there.give_up()
    if one is not None and other is not None:
        return one == other
    if ends.source is ends.destination:
        return False  # reading both ways over one connection costs as much as to send it
    with drawn(ends.source, item.path) as ours, drawn(ends.destination, path) as theirs:
        return _are_equal(_told(item, ours), theirs, check)


def _told(item: Item, chunks: Iterator[bytes]) -> Iterator[bytes]:
    with item.place.told(item.path):
        yield from chunks


def _are_equal(ones: Iterator[bytes], others: Iterator[bytes], check: Callable[[], None]) -> bool:
    one = other = memoryview(b"")
    while True:
        check()
        one = one or memoryview(next(ones, b""))
        other = other or memoryview(next(others, b""))
        common_bytes = min(len(one), len(other))
        if not common_bytes:
            return len(one) == len(other)
        if one[:common_bytes] != other[:common_bytes]:
            return False
        one, other = one[common_bytes:], other[common_bytes:]
