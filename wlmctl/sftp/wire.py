"""The words of SFTP version 3 as bytes: packets, attributes, names."""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from enum import IntEnum

from wlmctl.errors import Broken
from wlmctl.transport import FileInfo, Kind


class Packet(IntEnum):
    """Types of packets."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    SYMLINK = 20
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Status(IntEnum):
    """Codes of a STATUS packet."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    UNSUPPORTED = 8


OPEN_READ, OPEN_WRITE, OPEN_CREATE, OPEN_TRUNCATE = 0x01, 0x02, 0x08, 0x10
_SIZE, _OWNER, _MODE, _TIMES, _EXTENDED = 0x01, 0x02, 0x04, 0x08, 0x80000000
#: What OpenSSH says of every file, and in what it says it.
_USUAL, _USUAL_FIELDS = 0x0F, struct.Struct(">QIIIII")
_LATEST_S = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the server says of a file; None where it says nothing."""

    size_bytes: int | None = None
    mode: int | None = None
    mtime_s: int | None = None

    def info(self, path: str, target: str | None = None) -> FileInfo:
        """As the transport contract has it."""
        mode = self.mode or 0
        kind: Kind = "other"
        if stat.S_ISREG(mode) or not stat.S_IFMT(mode):
            kind = "file"
        elif stat.S_ISDIR(mode):
            kind = "directory"
        elif stat.S_ISLNK(mode):
            kind = "symlink"
        return FileInfo(
            path,
            kind,
            size_bytes=self.size_bytes or 0 if kind == "file" else 0,
            mode=stat.S_IMODE(mode),
            mtime_s=float(self.mtime_s or 0),
            target=target,
        )


def encode(path: str) -> bytes:
    """A path as the bytes that the far side knows it by."""
    return path.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    """The other way of ``encode``."""
    return data.decode("utf-8", "surrogateescape")


def string(data: bytes) -> bytes:
    """A string field: its length, then itself."""
    return struct.pack(">I", len(data)) + data


def u32(number: int) -> bytes:
    """A 32-bit field."""
    return struct.pack(">I", number)


def u64(number: int) -> bytes:
    """A 64-bit field."""
    return struct.pack(">Q", number)


def attributes(mode: int | None = None, mtime_s: float | None = None) -> bytes:
    """An attributes field that sets the permission bits, the times, both or nothing."""
    flags, fields = 0, b""
    if mode is not None:
        flags, fields = flags | _MODE, fields + u32(mode & 0o7777)
    if mtime_s is not None:
        seconds = u32(min(max(int(mtime_s), 0), _LATEST_S))
        flags, fields = flags | _TIMES, fields + seconds + seconds
    return u32(flags) + fields


def _too_early() -> Broken:
    return Broken("the host sends an SFTP packet that ends too early")


class Reader:
    """Takes the fields of a packet one after the other; ``Broken`` where it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def _take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) != count:
            raise _too_early()
        self._at += count
        return piece

    @property
    def is_at_end(self) -> bool:
        """True when nothing is left."""
        return self._at >= len(self._data)

    def u32(self) -> int:
        """The next 32-bit field."""
        return int.from_bytes(self._take(4), "big")

    def u64(self) -> int:
        """The next 64-bit field."""
        return int.from_bytes(self._take(8), "big")

    def string(self) -> bytes:
        """The next string field."""
        return self._take(self.u32())

    def attributes(self) -> Attributes:
        """The next attributes field."""
        flags = self.u32()
        if flags == _USUAL:
            self._at += _USUAL_FIELDS.size
            try:
                size, _, _, mode, _, mtime = _USUAL_FIELDS.unpack_from(self._data, self._at - _USUAL_FIELDS.size)
            except struct.error as error:
                raise _too_early() from error
            return Attributes(size, mode, mtime)
        size = self.u64() if flags & _SIZE else None
        if flags & _OWNER:
            self._take(8)
        mode = self.u32() if flags & _MODE else None
        mtime = None
        if flags & _TIMES:
            self._take(4)
            mtime = self.u32()
        if flags & _EXTENDED:
            for _ in range(self.u32()):
                self.string()
                self.string()
        return Attributes(size, mode, mtime)
