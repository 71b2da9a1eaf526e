"""Many small files on one session: opened, moved and closed in one stream of requests, without a wait for each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from wlmctl.errors import Broken
from wlmctl.sftp.faults import check, check_write, status
from wlmctl.sftp.pumps import FSYNC
from wlmctl.sftp.session import Session
from wlmctl.sftp.wire import (
    OPEN_CREATE,
    OPEN_READ,
    OPEN_TRUNCATE,
    OPEN_WRITE,
    Packet,
    Reader,
    Status,
    attributes,
    encode,
    string,
    u32,
    u64,
)
from wlmctl.transport import CHUNK_BYTES, FileInfo

#: Files in one stage (being opened; being read or written) at a time.
_FILES = 128
#: Content under way; the channel's window holds it.
_BYTES = 2 * 1024 * 1024
#: What is asked for before a file's size is known.
_FIRST_BYTES = 32 * 1024


def write_many(session: Session, files: Iterable[tuple[str, bytes, FileInfo]]) -> None:
    """Write each file whole, and to the host's disk where it can say so; after an error the rest is dropped."""
    writer = _Writer(session)
    try:
        for path, content, info in files:
            if len(content) != info.size_bytes:
                raise Broken(f"{path}: {len(content)} bytes, {info.size_bytes} were announced")
            writer.begin(path, content, info)
        writer.finish()
    finally:
        writer.abandon()


def _at_once(session: Session) -> int:
    """Files in one stage at a time, of two."""
    return max(1, min(_FILES, session.limits.handles // 4))


class _Writer:
    """Files on their way: first being opened, then, with all their requests sent, being written and closed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._opening: deque[tuple[int, str, bytes, FileInfo]] = deque()
        self._writing: deque[tuple[deque[int], str, int]] = deque()
        self._held_bytes = 0

    def begin(self, path: str, content: bytes, info: FileInfo) -> None:
        """Take one more file, and wait for earlier ones where too many are under way."""
        most = _at_once(self._session)
        self._opening.append((self._open(path, info), path, content, info))
        self._held_bytes += len(content)
        if len(self._opening) < most and self._held_bytes <= _BYTES:
            return
        # To the half of them, so that the next ones go out together, too.
        while self._opening and (len(self._opening) > most // 2 or self._held_bytes > _BYTES):
            self._write()
        while self._writing and (len(self._writing) > most // 2 or self._held_bytes > _BYTES // 2):
            self._settle()

    def finish(self) -> None:
        """Wait for all."""
        while self._opening:
            self._write()
        while self._writing:
            self._settle()

    def abandon(self) -> None:
        """Forget what is still under way."""
        for number, *_ in self._opening:
            self._session.close_opened(number)
        for numbers, *_ in self._writing:
            for number in numbers:
                self._session.forget(number)

    def _open(self, path: str, info: FileInfo) -> int:
        flags = u32(OPEN_WRITE | OPEN_CREATE | OPEN_TRUNCATE)
        return self._session.send(Packet.OPEN, string(encode(path)), flags, attributes(info.mode | 0o200))

    def _write(self) -> None:
        session = self._session
        number, path, content, info = self._opening.popleft()
        answer = session.take(number)
        if answer.kind == Packet.STATUS and status(answer)[0] == Status.FAILURE and self._writing:
            # Perhaps the host has too many files open; when those are closed, it has room again.
            refused_at = len(self._writing)
            while self._writing:
                self._settle()
            answer = session.take(self._open(path, info))
            if answer.kind == Packet.HANDLE:
                session.limits.handles = min(session.limits.handles, refused_at)
        handle = string(Reader(check(session, answer, path, Packet.HANDLE).body).string())
        step = session.limits.write_bytes
        numbers = deque(
            session.send(Packet.WRITE, handle, u64(at), string(content[at : at + step]))
            for at in range(0, len(content), step)
        )
        numbers.append(session.send(Packet.FSETSTAT, handle, attributes(info.mode, info.mtime_s)))
        if session.offers(FSYNC, b"1"):
            numbers.append(session.send(Packet.EXTENDED, string(FSYNC), handle))
        numbers.append(session.send(Packet.CLOSE, handle))
        self._writing.append((numbers, path, len(content)))

    def _settle(self) -> None:
        numbers, path, size_bytes = self._writing[0]
        while numbers:
            check_write(self._session, self._session.take(numbers.popleft()), path)
        self._writing.popleft()
        self._held_bytes -= size_bytes


def read_many(session: Session, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """The content of each path, in order; ``Broken`` for one that is larger than a chunk."""
    reader = _Reader(session)
    try:
        yield from reader.contents(deque(paths))
    finally:
        reader.abandon()


@dataclass(slots=True)
class _Read:
    """A file that is open: what has come of it, and the numbers of the requests for its size and for what follows."""

    path: str
    handle: bytes
    look: int
    more: int = 0
    size_bytes: int = 0
    content: bytes = b""
    is_whole: bool = False


class _Reader:
    """Files on their way: being opened, waiting for their size and beginning, waiting for the rest."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._first_bytes = min(_FIRST_BYTES, session.limits.read_bytes)
        self._opening: deque[tuple[int, str]] = deque()
        self._begun: deque[_Read] = deque()
        self._ending: deque[_Read] = deque()
        self._rest_bytes = 0
        self._refused_at = 0  # how many files the host had open when it refused one more

    def contents(self, waiting: deque[str]) -> Iterator[tuple[str, bytes]]:
        """The content of each path, in order."""
        while waiting or self._opening or self._begun or self._ending:
            most = _at_once(self._session)
            # Only when the half of them are done, so that the next ones go out together.
            if len(self._opening) <= most // 2:
                while waiting and len(self._opening) < most:
                    path = waiting.popleft()
                    self._opening.append((self._open(path), path))
            if len(self._begun) <= most // 2 and self._opening:
                self._session.wait_for(self._opening[min(len(self._opening), most - len(self._begun)) - 1][0])
                while self._opening and len(self._begun) < most and self._begin():
                    pass
            while self._begun and self._rest_bytes < _BYTES and (not self._ending or not self._ending[0].is_whole):
                self._look()
            yield self._end()

    def abandon(self) -> None:
        """Forget what is still under way."""
        for number, _ in self._opening:
            self._session.close_opened(number)
        unread = (*self._begun, *self._ending)
        for read in unread:
            self._session.forget(read.look)
            self._session.forget(read.more)
        self._session.release(*(read.handle for read in unread))

    def _open(self, path: str) -> int:
        return self._session.send(Packet.OPEN, string(encode(path)), u32(OPEN_READ), u32(0))

    def _ask(self, read: _Read, wanted: int) -> int:
        return self._session.send(Packet.READ, read.handle, u64(len(read.content)), u32(wanted))

    def _begin(self) -> bool:
        """Ask for the beginning of the file that is opened next; False: others must be closed before."""
        session = self._session
        number, path = self._opening[0]
        answer = session.take(number)
        if answer.kind == Packet.STATUS and status(answer)[0] == Status.FAILURE and (self._begun or self._ending):
            # Perhaps the host has too many files open; when those are closed, it has room again.
            self._refused_at = len(self._begun) + len(self._ending)
            self._opening[0] = self._open(path), path
            return False
        handle = string(Reader(check(session, answer, path, Packet.HANDLE).body).string())
        self._opening.popleft()
        if self._refused_at:
            session.limits.handles, self._refused_at = min(session.limits.handles, self._refused_at), 0
        read = _Read(path, handle, session.send(Packet.FSTAT, handle))
        self._begun.append(read)
        read.more = self._ask(read, self._first_bytes)
        return True

    def _look(self) -> None:
        """Take the size and the beginning of the file that was begun first, and ask for its rest."""
        read = self._begun[0]
        looked = check(self._session, self._session.take(read.look), read.path, Packet.ATTRS)
        read.size_bytes = Reader(looked.body).attributes().size_bytes or 0
        if read.size_bytes > CHUNK_BYTES:
            raise Broken(f"{read.path}: has grown to {read.size_bytes} bytes while it was read")
        self._take(read)
        self._rest_bytes += max(0, read.size_bytes - self._first_bytes)
        self._ending.append(self._begun.popleft())

    def _end(self) -> tuple[str, bytes]:
        """Wait for the rest of the file that is to be given next."""
        read = self._ending[0]
        while not read.is_whole:
            self._take(read)
        self._rest_bytes -= max(0, read.size_bytes - self._first_bytes)
        self._ending.popleft()
        self._session.forget(self._session.send(Packet.CLOSE, read.handle))
        return read.path, read.content

    def _take(self, read: _Read) -> None:
        """Take what was asked for last, and ask for what is missing then."""
        answer = self._session.take(read.more)
        if answer.kind == Packet.STATUS and status(answer)[0] == Status.EOF:
            read.is_whole = True  # or it has shrunk: the core compares sizes
            return
        data = check(self._session, answer, read.path, Packet.DATA).data()
        read.content += data
        if not data or len(read.content) > CHUNK_BYTES:
            raise Broken(f"{read.path}: {len(data)} bytes came, which is not what was asked for")
        # A file of /proc says that it is empty, and is not.
        read.is_whole = len(read.content) >= read.size_bytes > 0
        if not read.is_whole:
            wanted = (
                min(read.size_bytes - len(read.content), self._session.limits.read_bytes)
                if read.size_bytes
                else _FIRST_BYTES
            )
            read.more = self._ask(read, wanted)
