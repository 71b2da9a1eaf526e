"""Copying a file on the far side without a shell, by the server's ``copy-data``."""

from __future__ import annotations

from wlmctl.errors import Denied, NotFound
from wlmctl.sftp.faults import check_write
from wlmctl.sftp.many import pipelined, remove_many
from wlmctl.sftp.pumps import open_file
from wlmctl.sftp.session import Session
from wlmctl.sftp.tree import look
from wlmctl.sftp.wire import OPEN_CREATE, OPEN_READ, OPEN_TRUNCATE, OPEN_WRITE, Packet, string, u32, u64

_COPY_DATA = b"copy-data"
#: Bytes a request: the server answers nothing else while it copies them.
_PART_BYTES = 64 * 1024 * 1024


def copy(session: Session, source: str, destination: str, size_bytes: int | None) -> bool:
    """Make ``destination`` a file with the content of ``source``, or its beginning; False where the host cannot."""
    if not session.offers(_COPY_DATA, b"1"):
        return False
    info = look(session, source, follow=True)
    if info is None:
        raise NotFound(f"{source}: no such file")
    if info.kind != "file":
        raise Denied(f"{source}: is not a regular file")
    total = info.size_bytes if size_bytes is None else min(size_bytes, info.size_bytes)
    reading = open_file(session, source, OPEN_READ, u32(0))
    try:
        remove_many(session, [destination], Packet.REMOVE)
        writing = open_file(session, destination, OPEN_WRITE | OPEN_CREATE | OPEN_TRUNCATE, u32(0))
        try:
            requests = (
                (
                    Packet.EXTENDED,
                    [string(_COPY_DATA), reading, u64(at), u64(min(_PART_BYTES, total - at)), writing, u64(at)],
                )
                for at in range(0, total, _PART_BYTES)
            )
            for answer in pipelined(session, requests):
                check_write(session, answer, destination)
        finally:
            session.release(writing)
    finally:
        session.release(reading)
    return True
