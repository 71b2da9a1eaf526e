"""Many small files on one session: opened, moved and closed in one stream of requests, without a wait for each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from wlmctl.errors import Broken
from wlmctl.transport import CHUNK_BYTES, FileInfo
from wlmctl_transport_sftp.faults import check, check_write
from wlmctl_transport_sftp.session import Session
from wlmctl_transport_sftp.wire import (
    OPEN_CREATE,
    OPEN_READ,
    OPEN_TRUNCATE,
    OPEN_WRITE,
    Packet,
    Reader,
    attributes,
    encode,
    string,
    u32,
    u64,
)

_FILES = 32
#: Bytes under way in both directions together; the channel's window holds them.
_BYTES = 3 * 1024 * 1024


def write_many(session: Session, files: Iterable[tuple[str, bytes, FileInfo]]) -> None:
    """Write each file whole; after an error the answers to what is under way are dropped."""
    opening: deque[tuple[int, str, bytes, FileInfo]] = deque()
    closing: deque[tuple[list[int], str, int]] = deque()
    held = 0
    source = iter(files)
    try:
        while True:
            item = next(source, None)
            if item is not None:
                path, content, info = item
                if len(content) != info.size_bytes:
                    raise Broken(f"{path}: {len(content)} bytes, {info.size_bytes} were announced")
                flags = u32(OPEN_WRITE | OPEN_CREATE | OPEN_TRUNCATE)
                number = session.send(Packet.OPEN, string(encode(path)), flags, attributes(info.mode | 0o200))
                opening.append((number, path, content, info))
                held += len(content)
            while opening and (item is None or len(opening) >= _FILES or held > _BYTES):
                number, path, content, info = opening.popleft()
                opened = check(session, session.take(number), path, Packet.HANDLE)
                handle = string(Reader(opened.body).string())
                closing.append((_send_rest(session, handle, content, info), path, len(content)))
            while closing and (item is None or len(closing) >= _FILES or held > _BYTES):
                numbers, path, size = closing.popleft()
                held -= size
                for at, number in enumerate(numbers):
                    try:
                        check_write(session, session.take(number), path)
                    except BaseException:
                        closing.append((numbers[at + 1 :], path, 0))
                        raise
            if item is None:
                return
    finally:
        _drop(session, [(number, path) for number, path, _, _ in opening])
        for numbers, _, _ in closing:
            for number in numbers:
                session.forget(number)


def _send_rest(session: Session, handle: bytes, content: bytes, info: FileInfo) -> list[int]:
    step = session.write_bytes
    numbers = [
        session.send(Packet.WRITE, handle, u64(at), string(content[at : at + step]))
        for at in range(0, len(content), step)
    ]
    numbers.append(session.send(Packet.FSETSTAT, handle, attributes(info.mode, info.mtime_s)))
    numbers.append(session.send(Packet.CLOSE, handle))
    return numbers


def read_many(session: Session, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """The content of each path, in order; ``Broken`` for one that is larger than a chunk."""
    opening: deque[tuple[int, str]] = deque()
    reading: deque[tuple[str, bytes, int, int]] = deque()  # path, handle, number of FSTAT, number of READ
    depth = max(1, min(_FILES, _BYTES // session.read_bytes))
    waiting = deque(paths)
    try:
        while waiting or opening or reading:
            while waiting and len(opening) < _FILES:
                path = waiting.popleft()
                opening.append((session.send(Packet.OPEN, string(encode(path)), u32(OPEN_READ), u32(0)), path))
            while opening and len(reading) < depth:
                number, path = opening.popleft()
                opened = check(session, session.take(number), path, Packet.HANDLE)
                handle = string(Reader(opened.body).string())
                look = session.send(Packet.FSTAT, handle)
                reading.append((path, handle, look, _ask(session, handle, 0)))
            path, handle, look, number = reading[0]
            seen = check(session, session.take(look), path, Packet.ATTRS)
            content = _content(session, path, handle, number, Reader(seen.body).attributes().size_bytes or 0)
            reading.popleft()
            session.forget(session.send(Packet.CLOSE, handle))
            yield path, content
    finally:
        _drop(session, opening)
        for _, handle, look, number in reading:
            session.forget(look)
            session.forget(number)
            session.release(handle)


def _ask(session: Session, handle: bytes, at: int) -> int:
    return session.send(Packet.READ, handle, u64(at), u32(session.read_bytes))


def _content(session: Session, path: str, handle: bytes, number: int, size_bytes: int) -> bytes:
    if size_bytes > CHUNK_BYTES:
        session.forget(number)
        raise Broken(f"{path}: has grown to {size_bytes} bytes while it was read")
    content = b""
    while True:
        answer = session.take(number)
        if answer.kind == Packet.STATUS and not (size_bytes and not content):
            return content  # the end of an empty file, or of one that has shrunk: the core compares sizes
        content += Reader(check(session, answer, path, Packet.DATA).body).string()
        if len(content) >= size_bytes:
            return content
        number = _ask(session, handle, len(content))


def _drop(session: Session, opening: Iterable[tuple[int, str]]) -> None:
    """Close what the server may still open."""
    for number, _ in opening:
        if not session.is_alive:
            return
        try:
            answer = session.take(number)
        except Broken:
            return
        if answer.kind == Packet.HANDLE:
            session.release(string(Reader(answer.body).string()))
