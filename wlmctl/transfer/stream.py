"""One file from a source to a temporary path: streamed, counted, and then compared."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing

from wlmctl.errors import Broken, Denied, TransportError, WlmctlError
from wlmctl.transfer.asked import Asked
from wlmctl.transfer.behind import Behind
from wlmctl.transfer.hashing import Hashing
from wlmctl.transfer.items import Item
from wlmctl.transfer.place import Ends
from wlmctl.transfer.progress import Tally
from wlmctl.transfer.resume import begin
from wlmctl.transfer.unreadable import Unreadable
from wlmctl.transfer.verify import (
    Verify,
    changed,
    check_size,
    check_unchanged,
    digest_by_reading,
    drawn,
    how_changed,
    near_digest,
    tells_digest,
)
from wlmctl.transport import Appends, Attributes, FileInfo, Spawns, Transport


class Stream:
    """The bytes of one source on their way. ``fault`` is an error of the source's side, or of the tally."""

    def __init__(self, ends: Ends, item: Item, tally: Tally, offset: int, hashing: Hashing | Behind | None) -> None:
        self._source, self._item, self._tally = ends.source, item, tally
        self._offset, self._hashing = offset, hashing
        self.fault: BaseException | None = None

    def chunks(self) -> Generator[bytes, None, None]:
        """The source's bytes, pulled by the destination; never more than were announced."""
        item, done_bytes = self._item, self._offset
        try:
            with item.place.told(item.path), drawn(self._source, item.path, self._offset) as chunks:
                for chunk in chunks:
                    done_bytes += len(chunk)
                    if done_bytes > item.info.size_bytes:
                        raise changed(item, f"grew beyond {item.info.size_bytes:,} bytes")
                    if self._hashing is not None:
                        self._hashing.update(chunk)
                    self._tally.pace(len(chunk))
                    self._tally.sent(len(chunk))
                    yield chunk
            if done_bytes < item.info.size_bytes:
                check_unchanged(self._source, [item])
                raise Broken(
                    f"{item.place.shown(item.path)}: ended after {done_bytes:,} of {item.info.size_bytes:,} bytes"
                )
        except GeneratorExit:
            raise
        except TransportError as error:
            # a transport may break off over a source that changes under its hands: then that is what to tell
            changed_meanwhile = how_changed(self._source, [item])
            self.fault = changed_meanwhile or (Unreadable(error) if isinstance(error, Denied) else error)
            raise self.fault from error
        except BaseException as error:
            self.fault = error
            raise


def send(
    ends: Ends, item: Item, path: str, found: Sequence[FileInfo], verify: Verify, tally: Tally
) -> Comparison | None:
    """Copy ``item`` to ``path``, a temporary one, going on where ``found`` allows it.

    Returns the comparison by sha256, which is under way; None: what was to be compared is. Raises the transports'
    errors, and ``TaskFailed`` where the source changed.
    """
    hashing = Hashing()
    behind: Behind | None = None
    try:
        with ends.to.told(item.target):
            begun = begin(ends, item, path, found, hashing, tally.check)
        tally.resumed(begun.offset)
        is_hashed = verify == Verify.SHA256 and begun.is_hashed and not tells_digest(ends.source)
        if is_hashed and isinstance(ends.source, Spawns):
            behind = Behind(ends.source, item, begun.offset, hashing.taken())
        stream = Stream(ends, item, tally, begun.offset, behind or (hashing if is_hashed else None))
        try:
            with ends.to.told(item.target):
                told_bytes = _write(ends, item, path, stream, begun.offset)
        except WlmctlError as error:
            # a transport may tell an error of its chunks as its own; what began it is what counts
            if stream.fault is not None and stream.fault is not error:
                raise stream.fault from error
            raise
        sent = hashing.hexdigest() if is_hashed and behind is None else None
    except BaseException:
        if behind is not None:
            behind.give_up()
        raise
    finally:
        hashing.close()
    if verify == Verify.SHA256:
        return Comparison(ends, item, path, sent, behind, tally)
    if verify == Verify.SIZE and told_bytes != item.info.size_bytes:
        with ends.to.told(item.target):
            check_size(ends.to, ends.destination, path, item.info.size_bytes)
    with item.place.told(item.path):
        check_unchanged(ends.source, [item])
    return None


def _write(ends: Ends, item: Item, path: str, stream: Stream, offset: int) -> int | None:
    """Returns the size that is known to have arrived."""
    destination = ends.destination
    # closed here and now, after an error too: else it would be by whatever thread collects it, over a connection in use
    with closing(stream.chunks()) as chunks:
        if not offset:
            return destination.write(path, chunks, item.info)
        assert isinstance(destination, Appends)  # what can_resume has looked at
        assert isinstance(destination, Attributes)
        if offset < item.info.size_bytes:
            destination.append(path, offset, chunks)
    check_size(ends.to, destination, path, item.info.size_bytes)
    destination.set_attributes(path, item.info)
    return item.info.size_bytes


class Comparison:
    """A file that was sent: both ends tell its sha256 while the next one is sent, and then they are compared.

    ``sent`` is what was hashed on the way; None: ``behind`` or the source's machine tells it, or it is read once more.
    """

    def __init__(
        self, ends: Ends, item: Item, path: str, sent: str | None, behind: Behind | None, tally: Tally
    ) -> None:
        self._ends, self._item, self._path, self._sent, self._tally = ends, item, path, sent, tally
        self._arrived = _asked(ends.destination, path)
        self._kept = behind.rest() if behind is not None else None
        if sent is None and tells_digest(ends.source):
            self._kept = _asked(ends.source, item.path)

    def ended(self) -> str:
        """The sha256, which is the same at both ends."""
        ends, item, check = self._ends, self._item, self._tally.check
        try:
            with ends.to.told(item.target):
                arrived = self._answer(self._arrived, ends.destination, self._path)
                if arrived is None:
                    arrived = digest_by_reading(ends.destination, self._path, check)
                    self._tally.read_back += 1
            with item.place.told(item.path):
                kept = self._answer(self._kept, ends.source, item.path) if self._kept is not None else None
                sent = self._sent or kept or digest_by_reading(ends.source, item.path, check)
        finally:
            self.give_up()
        if arrived != sent:
            with item.place.told(item.path):
                check_unchanged(ends.source, [item])
            source = "it was sent with" if self._sent else f"{item.place.shown(item.path)} has"
            raise Broken(f"{ends.to.shown(item.target)}: arrived with another sha256 than {source}")
        with item.place.told(item.path):
            check_unchanged(ends.source, [item])
        return sent

    def _answer(self, asked: Asked[str | None], transport: Transport, path: str) -> str | None:
        try:
            return asked.answer(self._tally.check)
        except Broken:  # a host may have allowed no other session while the next file was sent
            return _asked(transport, path).answer(self._tally.check)

    def give_up(self) -> None:
        """Nobody compares any more."""
        self._arrived.give_up()
        if self._kept is not None:
            self._kept.give_up()


def _asked(transport: Transport, path: str) -> Asked[str | None]:
    return Asked(lambda going: near_digest(transport, path, going))
