"""One file from a source to a temporary path: streamed, counted, hashed on the way, compared at its end."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from wlmctl.errors import Broken, TransportError, WlmctlError
from wlmctl.transfer.place import Place
from wlmctl.transfer.plan import Item
from wlmctl.transfer.progress import Tally
from wlmctl.transfer.verify import Verify, changed, check_size, check_unchanged, drawn, far_digest, how_changed
from wlmctl.transport import Digests, Spawns, Transport


class Stream:
    """The bytes of one source on their way. ``fault`` is an error of the source's side, or of the tally."""

    def __init__(self, source: Transport, item: Item, tally: Tally, *, is_hashed: bool) -> None:
        self._source, self._item, self._tally = source, item, tally
        self._sha256 = hashlib.sha256() if is_hashed else None
        self.done_bytes = 0
        self.fault: BaseException | None = None

    def chunks(self) -> Iterator[bytes]:
        """The source's bytes, pulled by the destination; never more than were announced."""
        item = self._item
        try:
            with item.place.told(item.path), drawn(self._source, item.path) as chunks:
                for chunk in chunks:
                    self.done_bytes += len(chunk)
                    if self.done_bytes > item.info.size_bytes:
                        raise changed(item, f"grew beyond {item.info.size_bytes:,} bytes")
                    if self._sha256 is not None:
                        self._sha256.update(chunk)
                    self._tally.pace(len(chunk))
                    self._tally.sent(len(chunk))
                    yield chunk
            if self.done_bytes < item.info.size_bytes:
                check_unchanged(self._source, [item])
                raise Broken(
                    f"{item.place.shown(item.path)}: ended after {self.done_bytes:,} of {item.info.size_bytes:,} bytes"
                )
        except GeneratorExit:
            raise
        except TransportError as error:
            # a transport may break off over a source that changes under its hands: then that is what to tell
            changed_meanwhile = how_changed(self._source, [item])
            self.fault = changed_meanwhile or error
            if changed_meanwhile is not None:
                raise changed_meanwhile from error
            raise
        except BaseException as error:
            self.fault = error
            raise

    def hexdigest(self) -> str:
        """The sha256 of what has passed."""
        assert self._sha256 is not None
        return self._sha256.hexdigest()


def send(
    source: Transport,
    destination: Transport,
    to: Place,
    item: Item,
    path: str,
    verify: Verify,
    tally: Tally,
) -> bool:
    """Copy ``item`` to ``path``, which is a temporary one, and compare; True when it had to be read back for that.

    Raises the transports' errors, and ``TaskFailed`` where the source changed.
    """
    stream = Stream(source, item, tally, is_hashed=verify == Verify.SHA256)
    try:
        with to.told(item.target):
            destination.write(path, stream.chunks(), item.info)
    except WlmctlError as error:
        # a transport may tell an error of its chunks as its own; what began it is what counts
        if stream.fault is not None and stream.fault is not error:
            raise stream.fault from error
        raise
    was_read_back = False
    with to.told(item.target):
        if verify == Verify.SIZE:
            check_size(to, destination, path, item.info.size_bytes)
        elif verify == Verify.SHA256:
            arrived, was_read_back = far_digest(destination, path, tally.check)
            if arrived != stream.hexdigest():
                raise Broken(f"{to.shown(item.target)}: arrived with another sha256 than it was sent with")
    with item.place.told(item.path):
        if verify == Verify.SHA256:
            _check_source(source, item, stream.hexdigest(), tally.check)
        check_unchanged(source, [item])
    return was_read_back


def _check_source(source: Transport, item: Item, sent: str, check: Callable[[], None]) -> None:
    """The far end's own sha256 of the source, where it can tell: on this host what was read is what is there."""
    if isinstance(source, Spawns) or not isinstance(source, Digests):
        return
    check()
    kept = source.digest(item.path)
    if kept is not None and kept != sent:
        check_unchanged(source, [item])
        raise Broken(f"{item.place.shown(item.path)}: was read with another sha256 than it has there")


def is_there_already(source: Transport, destination: Transport, item: Item, check: Callable[[], None]) -> bool:
    """True when the target holds the same content, mode and time, told by both ends' own digests."""
    if not isinstance(source, Digests) or not isinstance(destination, Digests):
        return False
    there = destination.stat(item.target)
    if there is None or there.kind != "file" or there.size_bytes != item.info.size_bytes:
        return False
    if int(there.mtime_s) != int(item.info.mtime_s) or there.mode != item.info.mode:
        return False
    check()
    kept = destination.digest(item.target)
    check()
    return kept is not None and kept == source.digest(item.path)
