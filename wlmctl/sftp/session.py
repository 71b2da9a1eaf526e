"""One SFTP session: numbered requests out, answers in, in whatever order they are asked for.

Own code instead of ``paramiko.SFTPClient``, which drops the server's list of extensions, cannot decode names that
are not UTF-8, and whose prefetch reads large files twice. Used by one thread at a time; answers are cut apart in the
thread that receives them.
"""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from dataclasses import dataclass
from enum import Enum, auto

from wlmctl.errors import Broken, Unreachable
from wlmctl.sftp.answers import Answer, Cutter
from wlmctl.sftp.arrivals import ANY, Arrivals
from wlmctl.sftp.line import Line, no_sftp
from wlmctl.sftp.wire import Packet, Reader, string

_HEAD = struct.Struct(">IBI")
#: So much is collected before it is sent, unless an answer is waited for: a packet of SSH.
_TOGETHER_BYTES = 32_000
#: Small requests are put together here, large ones when they are sealed.
_MANY_PARTS = 16
#: Every server must take this much in one read or write; OpenSSH tells more by limits@openssh.com.
_SAFE_REQUEST_BYTES = 32 * 1024
_LARGEST_REQUEST_BYTES = 261_120
#: Open at a time, where the server does not tell how many it allows.
_SAFE_HANDLES = 64
#: A sync may wait for a slow disk to take all that was written.
SYNC_TIMEOUT_S = 300.0


class _Fate(Enum):
    """What becomes of an answer."""

    TAKE = auto()
    DROP = auto()
    CLOSE = auto()  # the handle that it brings


@dataclass(slots=True)
class Limits:
    """How much one request may read or write, and how many files may be open at a time."""

    read_bytes: int = _SAFE_REQUEST_BYTES
    write_bytes: int = _SAFE_REQUEST_BYTES
    handles: int = _SAFE_HANDLES


class Session:
    """An open SFTP session on a line of its own, with the machine ``name``.

    ``home_asked`` is the number of a REALPATH for the folder in which it starts.
    """

    def __init__(self, line: Line, name: str, timeout_s: float) -> None:
        self._line, self._name, self._timeout_s = line, name, timeout_s
        #: What was left half-read may be closed by whatever thread collects it, while another one sends.
        self._sending = threading.RLock()
        self._number = 0
        self._unsent: list[bytes | memoryview] = []
        self._unsent_bytes = 0
        self._cutter = Cutter()
        self._arrivals = Arrivals()
        self._heard_s = 0.0
        self._asked: dict[int, _Fate] = {}
        self._answers: dict[int, Answer] = {}
        self.extensions: dict[bytes, bytes] = {}
        self._limits: Limits | None = None
        self.home_asked = self._limits_asked = 0
        try:
            self._begin()
        except BaseException:
            line.close()
            raise

    @property
    def is_alive(self) -> bool:
        """True while the line is open, as far as this side knows."""
        return self._line.is_alive

    def close(self) -> None:
        """End the session."""
        self._line.close()

    def send(self, kind: Packet, *fields: bytes | memoryview) -> int:
        """Send a request and return its number; it may wait for others that follow, at most until ``flush``."""
        with self._sending:
            self._number = number = self._number % 0xFFFF_FFFF + 1
            self._asked[number] = _Fate.TAKE
            length = sum(map(len, fields))
            self._unsent += (_HEAD.pack(5 + length, kind, number), *fields)
            self._unsent_bytes += _HEAD.size + length
            if self._unsent_bytes >= _TOGETHER_BYTES:
                self.flush()
        return number

    def flush(self) -> None:
        """Send what has been waiting for more."""
        with self._sending:
            if self._unsent:
                unsent, self._unsent, self._unsent_bytes = self._unsent, [], 0
                self._line.send(*unsent if len(unsent) < _MANY_PARTS else (b"".join(unsent),))

    def take(self, number: int, timeout_s: float | None = None) -> Answer:
        """The answer to a request; ``Broken`` when the connection is lost, or silent for too long."""
        self.wait_for(number, timeout_s)
        return self._answers.pop(number)

    def wait_for(self, number: int, timeout_s: float | None = None) -> None:
        """Wait until the answer to a request is here; who is about to take many asks for the last: that is one wait."""
        while number not in self._answers:
            for answer in self._receive(number, timeout_s or self._timeout_s):
                fate = self._asked.pop(answer.number, None)
                if fate is None:
                    raise Broken(f"machine {self._name}: the host answers what it was not asked")
                if fate is _Fate.TAKE:
                    self._answers[answer.number] = answer
                elif fate is _Fate.CLOSE:
                    self._close_it(answer)

    def ask(self, kind: Packet, *fields: bytes, timeout_s: float | None = None) -> Answer:
        """Send a request and wait for its answer."""
        return self.take(self.send(kind, *fields), timeout_s)

    def forget(self, number: int) -> None:
        """Drop the answer to a request that nobody will ask for."""
        self._answers.pop(number, None)
        if number in self._asked:
            self._asked[number] = _Fate.DROP

    def close_opened(self, number: int) -> None:
        """Close what the server opens, or has opened, for a request that nobody will ask for."""
        answer = self._answers.pop(number, None)
        if answer is not None:
            self._close_it(answer)
        elif number in self._asked:
            self._asked[number] = _Fate.CLOSE

    def release(self, *handles: bytes) -> None:
        """Close handles (fields) without waiting; on a lost connection there is nothing left to close."""
        if self.is_alive:
            with contextlib.suppress(Broken):
                for handle in handles:
                    self.forget(self.send(Packet.CLOSE, handle))
                self.flush()

    def _close_it(self, answer: Answer) -> None:
        if answer.kind == Packet.HANDLE:
            self.release(string(Reader(answer.body).string()))

    def offers(self, extension: bytes, version: bytes) -> bool:
        """True when the server has announced the extension."""
        return self.extensions.get(extension) == version

    def _begin(self) -> None:
        self._line.start(self._take_piece, self._arrivals.end)
        try:
            self._line.send(struct.pack(">IBI", 5, Packet.INIT, 3))
            (first, *_) = self._receive(ANY, self._timeout_s)
        except Broken as error:
            raise Unreachable(f"{no_sftp(self._name)}: {error}") from error
        if first.kind != Packet.VERSION:
            raise self._not_sftp(first.body)
        fields = Reader(first.body)
        while not fields.is_at_end:
            name = fields.string()
            self.extensions[name] = fields.string()
        self.home_asked = self.send(Packet.REALPATH, string(b"."))  # whose answer nearly everyone wants
        if self.offers(b"limits@openssh.com", b"1"):
            self._limits_asked = self.send(Packet.EXTENDED, string(b"limits@openssh.com"))
            self.flush()

    @property
    def limits(self) -> Limits:
        """What the server takes: asked for at the beginning, and waited for only where it matters."""
        # no cached_property: up to Python 3.11 a silent host would hold its lock against all other sessions
        if self._limits is None:
            self._limits = self._told_limits() if self._limits_asked else Limits()
        return self._limits

    def _told_limits(self) -> Limits:
        answer = self.take(self._limits_asked)
        if answer.kind != Packet.EXTENDED_REPLY:
            return Limits()
        fields = Reader(answer.body)
        _, reading, writing, handles = (fields.u64() for _ in range(4))
        return Limits(
            min(reading or _SAFE_REQUEST_BYTES, _LARGEST_REQUEST_BYTES),
            min(writing or _SAFE_REQUEST_BYTES, _LARGEST_REQUEST_BYTES),
            handles or _SAFE_HANDLES,
        )

    def _take_piece(self, piece: bytes | memoryview) -> None:
        """In the line's thread."""
        self._heard_s = time.monotonic()
        answers = self._cutter.cut(piece)
        if answers:
            self._arrivals.add(answers)
        if self._cutter.fault is not None:
            self._arrivals.end()

    def _receive(self, wanted: int, timeout_s: float) -> list[Answer]:
        """The answers that have arrived next; the line may be silent for ``timeout_s`` at most."""
        self.flush()
        begun_s = time.monotonic()
        wait_s = timeout_s
        while not (answers := self._arrivals.take(wanted, wait_s)):
            if answers is None:
                if self._cutter.fault is not None:
                    raise self._not_sftp(self._cutter.fault)
                raise Broken(f"machine {self._name}: the connection was lost")
            # A part of a large answer may have come over a slow line.
            wait_s = max(begun_s, self._heard_s) + timeout_s - time.monotonic()
            if wait_s <= 0:
                raise Broken(f"machine {self._name}: no answer for {timeout_s:g} s")
        self._line.dealt_with(sum(answer.size_bytes for answer in answers))
        return answers

    def _not_sftp(self, text: bytes) -> Unreachable:
        return Unreachable(
            f"machine {self._name}: what the host sends is not SFTP ({text!r}); does a start-up file of the login "
            "print something?"
        )
