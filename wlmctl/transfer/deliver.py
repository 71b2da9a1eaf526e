"""Bringing the items of a plan to their paths over two open connections: skipped, resumed or sent, and compared."""

from __future__ import annotations

from collections.abc import Sequence

from wlmctl.errors import Broken
from wlmctl.transfer.cache import Cache
from wlmctl.transfer.items import Item
from wlmctl.transfer.place import Ends
from wlmctl.transfer.progress import Tally
from wlmctl.transfer.routes import Pair, Route
from wlmctl.transfer.same import is_there
from wlmctl.transfer.small import batches, is_small, send_batch
from wlmctl.transfer.stream import Comparison, send
from wlmctl.transfer.verify import Verify
from wlmctl.transport import Links


class Delivery:
    """All files and links of some items, by one route; their folders are there."""

    def __init__(self, ends: Ends, route: Route, verify: Verify, tally: Tally, cache: Cache | None) -> None:
        self._ends, self._route, self._verify, self._tally, self._cache = ends, route, verify, tally, cache
        self._pending: tuple[Pair, Comparison] | None = None

    def send(self, items: Sequence[Item]) -> None:
        """Deliver them."""
        for batch in batches(filter(is_small, items)):
            self._small(batch)
        try:
            for item in items:
                if item.info.kind == "symlink":
                    self._link(item)
                elif item.info.kind == "file" and not is_small(item):
                    self._large(item)
            self._collect()
        finally:
            if self._pending is not None:
                self._pending[1].give_up()

    def _small(self, batch: Sequence[Item]) -> None:
        pairs = [(item, self._route.path(item)) for item in batch]
        self._route.writes(batch)
        there = {item.target: at for item in batch if (at := self._route.whole_at(item)) is not None}
        sent = send_batch(self._ends, pairs, there, self._verify, self._tally)
        if len(sent) < len(pairs):
            left = {item.target for item, _ in sent}
            self._skipped([item for item in batch if item.target not in left])
        if sent:
            self._settled(sent)

    def _large(self, item: Item) -> None:
        with self._ends.to.told(item.target):
            at = self._route.whole_at(item)
            if at is not None and is_there(self._ends, item, at, self._verify, self._tally.check):
                self._skipped([item])
                return
            found, path = self._route.begun(item), self._route.path(item)
            self._route.writes([item])
            if self._cache is not None and not found and self._cache.give(item, path):
                self._tally.reuse(item.info.size_bytes)
                self._settled([(item, path)])
                return
        done_bytes = self._tally.bytes_done
        try:
            comparison = send(self._ends, item, path, found, self._verify, self._tally)
        except Broken:
            if self._pending is None or self._tally.bytes_done != done_bytes:
                raise
            self._collect()  # a host may allow no other session while it computes a digest
            comparison = send(self._ends, item, path, self._route.begun(item), self._verify, self._tally)
        self._collect()
        if comparison is None:
            self._settled([(item, path)])
        else:
            self._pending = (item, path), comparison

    def _collect(self) -> None:
        """The large file that was sent last: both ends have told its sha256 by now, or soon will."""
        if self._pending is None:
            return
        (pair, comparison), self._pending = self._pending, None
        sha256 = comparison.ended()
        if self._cache is not None:
            with self._ends.to.told(pair[0].target):
                self._cache.keep(pair[1], sha256, pair[0].info.size_bytes)
        self._settled([pair])

    def _link(self, item: Item) -> None:
        destination = self._ends.destination
        assert isinstance(destination, Links)  # looked at by the plan
        self._tally.check()
        if self._route.whole_at(item) is not None:
            self._skipped([item])
            return
        path = self._route.path(item)
        self._route.writes([item])
        with self._ends.to.told(item.target):
            destination.symlink(item.info.target or "", path)
        self._settled([(item, path)])

    def _skipped(self, items: Sequence[Item]) -> None:
        self._route.skip(items)
        sizes_bytes = [item.info.size_bytes for item in items]
        if self._route.is_resumed:
            self._tally.took_over(sizes_bytes)
        else:
            self._tally.skip(sizes_bytes)

    def _settled(self, pairs: Sequence[Pair]) -> None:
        self._tally.check()
        self._route.settle(pairs)
        self._tally.settled(len(pairs))
