"""Cutting what an SFTP server sends into answers, piece by piece, in the thread that receives it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from wlmctl.errors import Broken
from wlmctl.sftp.wire import Packet

_HEAD = struct.Struct(">IBI")  # length of all that follows it, type, number of the request
_LENGTH_BYTES = 4
_OK = bytes(4)
#: Larger than any sane server's answer; together with what is asked for at a time it must fit into a window.
LARGEST_PACKET_BYTES = 1 << 20


class Answer:
    """The type and the fields of an answer, and how many bytes it was on the line."""

    __slots__ = ("_parts", "kind", "number", "size_bytes")

    def __init__(self, kind: int, number: int, parts: Sequence[bytes | memoryview], size_bytes: int) -> None:
        self.kind, self.number, self._parts, self.size_bytes = kind, number, parts, size_bytes

    @property
    def body(self) -> bytes:
        """The fields behind the number."""
        return b"".join(self._parts)

    @property
    def is_ok(self) -> bool:
        """True for a STATUS that says OK: what nearly all answers are."""
        return self.kind == Packet.STATUS and self._parts[0][:4] == _OK

    def data(self) -> bytes:
        """The one string of a DATA answer, in a single copy; ``Broken`` where it is cut short or too long."""
        parts = self._parts if len(self._parts[0]) >= _LENGTH_BYTES else (self.body,)
        first = memoryview(parts[0])
        content = b"".join((first[_LENGTH_BYTES:], *parts[1:]))
        if len(first) < _LENGTH_BYTES or len(content) != int.from_bytes(first[:_LENGTH_BYTES], "big"):
            raise Broken("the host sends an SFTP packet that ends too early")
        return content


class Cutter:
    """Makes answers of pieces that are cut anywhere. ``fault`` is what came instead of an answer: then all is over."""

    def __init__(self) -> None:
        self._rest: bytes | memoryview = b""  # the beginning of a head
        self._parts: list[bytes | memoryview] = []  # of an answer that is not whole yet
        self._head = (0, 0, 0)
        self._missing = 0
        self.fault: bytes | None = None

    def cut(self, piece: bytes | memoryview) -> list[Answer]:
        """The answers that are whole with ``piece``."""
        if self._missing > len(piece):
            self._parts.append(piece)
            self._missing -= len(piece)
            return []
        answers: list[Answer] = []
        at = self._missing
        if at:
            self._parts.append(memoryview(piece)[:at])
            answers.append(self._whole())
        elif self._rest:
            piece = b"".join((self._rest, piece))
        while len(piece) - at >= _HEAD.size:
            length, kind, number = _HEAD.unpack_from(piece, at)
            if not _HEAD.size - _LENGTH_BYTES <= length <= LARGEST_PACKET_BYTES:
                self.fault = bytes(piece[at : at + 40])
                return answers
            end = at + _LENGTH_BYTES + length
            self._head = kind, number, end - at
            self._parts = [piece[at + _HEAD.size : end]]
            at = end
            if end > len(piece):
                self._missing = end - len(piece)
                break
            answers.append(self._whole())
        self._rest = piece[at:]
        return answers

    def _whole(self) -> Answer:
        self._missing = 0
        kind, number, size_bytes = self._head
        parts, self._parts = self._parts, []
        return Answer(kind, number, parts, size_bytes)
