"""The bytes of one file, many requests in flight: reading and writing at the speed of the line, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from wlmctl.errors import Broken, Denied
from wlmctl.sftp.faults import check, check_write, error_for, status
from wlmctl.sftp.session import SYNC_TIMEOUT_S, Session
from wlmctl.sftp.wire import OPEN_READ, Packet, Reader, Status, attributes, encode, string, u32, u64
from wlmctl.transport import FileInfo

#: Bytes asked for or sent and not yet answered; must fit into the channel's window.
_AHEAD_BYTES = 4 * 1024 * 1024 - 128 * 1024
#: Requests under way; more make some servers hang.
_DEPTH = 64
#: So many requests go out together, so that neither side waits for the other.
_TOGETHER = 4
FSYNC = b"fsync@openssh.com"


def read(session: Session, path: str, offset: int, size_bytes: int) -> Iterator[bytes]:
    """The file's bytes from ``offset`` to its end, which need not be at ``size_bytes``."""
    handle = open_file(session, path, OPEN_READ, u32(0))
    length = session.limits.read_bytes
    depth = max(1, min(_DEPTH, _AHEAD_BYTES // length))
    flying: deque[tuple[int, int, int]] = deque()  # number, offset, length
    ask_at = offset

    def ask(at: int, wanted: int) -> tuple[int, int, int]:
        return session.send(Packet.READ, handle, u64(at), u32(wanted)), at, wanted

    try:
        while True:
            # Ahead only as far as the size that was seen; the request after it finds the end, or what was added.
            while len(flying) < depth and (ask_at <= size_bytes or not flying):
                flying.append(ask(ask_at, min(length, size_bytes - ask_at) if ask_at < size_bytes else length))
                ask_at += flying[-1][2]
                if flying[-1][0] % _TOGETHER == 0:
                    session.flush()
            number, at, wanted = flying.popleft()
            answer = session.take(number)
            if answer.kind == Packet.STATUS:
                code, text = status(answer)
                if code == Status.EOF:
                    return
                raise error_for(session, code, text, path)
            data = check(session, answer, path, Packet.DATA).data()
            if not 0 < len(data) <= wanted:
                raise Broken(f"{path}: the host sends {len(data)} bytes where {wanted} were asked for")
            if len(data) < wanted:  # the rest is asked for again, before what is in flight
                flying.appendleft(ask(at + len(data), wanted - len(data)))
            yield data
    finally:
        for number, _, _ in flying:
            session.forget(number)
        session.release(handle)


def write(
    session: Session, path: str, handle: bytes, offset: int, chunks: Iterable[bytes], info: FileInfo | None = None
) -> int | None:
    """Write ``chunks`` from ``offset`` on, have the host put them on its disk where it can, and close the handle.

    With ``info`` the file gets its mode and mtime; ``Broken`` when the chunks are fewer or more than its bytes.
    Returns the size that the host tells of the file before it closes it; None where it does not.
    """
    flying: deque[int] = deque()
    depth = max(1, min(_DEPTH, _AHEAD_BYTES // session.limits.write_bytes))
    written = 0
    is_open = True
    try:
        for pieces in _requests(chunks, session.limits.write_bytes):
            size_bytes = sum(map(len, pieces))
            if info is not None and written + size_bytes > info.size_bytes:
                raise Broken(f"{path}: more than the {info.size_bytes} bytes that were announced: the source grew")
            flying.append(session.send(Packet.WRITE, handle, u64(offset + written), u32(size_bytes), *pieces))
            written += size_bytes
            if len(flying) >= depth:
                check_write(session, session.take(flying.popleft()), path)
        if info is not None and written != info.size_bytes:
            raise Broken(f"{path}: {written} bytes, {info.size_bytes} were announced: the source shrank")
        writes = len(flying)
        if info is not None:
            flying.append(session.send(Packet.FSETSTAT, handle, attributes(info.mode, info.mtime_s)))
        if session.offers(FSYNC, b"1"):
            flying.append(session.send(Packet.EXTENDED, string(FSYNC), handle))
        look = session.send(Packet.FSTAT, handle)
        flying.extend((session.send(Packet.CLOSE, handle), look))
        is_open = False
        for _ in range(writes):
            check_write(session, session.take(flying.popleft()), path)
        if info is not None:
            check(session, session.take(flying.popleft()), path)
        while len(flying) > 1:
            check_write(session, session.take(flying.popleft(), SYNC_TIMEOUT_S), path)
        looked = session.take(flying.popleft())
        return Reader(looked.body).attributes().size_bytes if looked.kind == Packet.ATTRS else None
    finally:
        for number in flying:
            session.forget(number)
        if is_open:
            session.release(handle)


def _requests(chunks: Iterable[bytes], size_bytes: int) -> Iterator[list[bytes | memoryview]]:
    """``chunks`` in pieces that together make requests of ``size_bytes``, the last one excepted."""
    pieces: list[bytes | memoryview] = []
    room = size_bytes
    for chunk in chunks:
        at = 0
        while len(chunk) - at >= room:
            yield [*pieces, memoryview(chunk)[at : at + room]]
            at += room
            pieces, room = [], size_bytes
        if at < len(chunk):
            pieces.append(memoryview(chunk)[at:])
            room -= len(chunk) - at
    if pieces:
        yield pieces


def open_file(session: Session, path: str, flags: int, initial: bytes) -> bytes:
    """The handle (as a field) of the file ``path``, opened with ``flags``; ``initial`` attributes if it is made."""
    answer = session.ask(Packet.OPEN, string(encode(path)), u32(flags), initial)
    if answer.kind == Packet.STATUS and status(answer)[0] == Status.FAILURE:
        there = session.ask(Packet.STAT, string(encode(path)))
        if there.kind == Packet.ATTRS and Reader(there.body).attributes().info(path).kind == "directory":
            raise Denied(f"{path}: is a folder")
    return string(Reader(check(session, answer, path, Packet.HANDLE).body).string())
