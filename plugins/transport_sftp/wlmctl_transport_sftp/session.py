"""One SFTP session: numbered requests out, answers in, in whatever order they are asked for.

Own code instead of ``paramiko.SFTPClient``, which drops the server's list of extensions, cannot decode names that
are not UTF-8, and whose prefetch reads large files twice. Used by one thread at a time.
"""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass

import paramiko

from wlmctl.errors import Broken, Unreachable
from wlmctl.ssh.command import close_channel, open_channel
from wlmctl.ssh.transport import SshTransport
from wlmctl_transport_sftp.wire import Packet, Reader, string, u32

_RECEIVE_BYTES = 1 << 20
_LARGEST_PACKET_BYTES = 16 << 20
_SEND_BYTES = 32 * 1024
#: Every server must take this much in one read or write; OpenSSH tells more by limits@openssh.com.
_SAFE_REQUEST_BYTES = 32 * 1024
_LARGEST_REQUEST_BYTES = 261_120
#: A sync may wait for a slow disk to take all that was written.
SYNC_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The type and the fields of an answer."""

    kind: int
    body: bytes


class Session:
    """An open SFTP session on a channel of its own."""

    def __init__(self, ssh: SshTransport) -> None:
        self._name = ssh.login.machine
        self._timeout_s = ssh.timeout_s
        self._channel = open_channel(ssh)
        self._buffer = b""
        self._number = 0
        self._answers: dict[int, Answer] = {}
        self._unwanted: set[int] = set()
        self.extensions: dict[bytes, bytes] = {}
        self.read_bytes = self.write_bytes = _SAFE_REQUEST_BYTES
        try:
            self._begin()
        except BaseException:
            close_channel(self._channel)
            raise

    @property
    def is_alive(self) -> bool:
        """True while the channel is open, as far as this side knows."""
        return not (self._channel.closed or self._channel.eof_received)

    def close(self) -> None:
        """End the session."""
        close_channel(self._channel)

    def send(self, kind: Packet, *fields: bytes) -> int:
        """Send a request and return its number; does not wait for the answer."""
        self._number = self._number % 0xFFFF_FFFF + 1
        self._put(struct.pack(">BI", kind, self._number) + b"".join(fields))
        return self._number

    def take(self, number: int, timeout_s: float | None = None) -> Answer:
        """The answer to a request; ``Broken`` when the connection is lost, or silent for too long."""
        while number not in self._answers:
            kind, body = self._packet(timeout_s or self._timeout_s)
            answered = int.from_bytes(body[:4], "big")
            if answered in self._unwanted:
                self._unwanted.discard(answered)
            else:
                self._answers[answered] = Answer(kind, body[4:])
        return self._answers.pop(number)

    def ask(self, kind: Packet, *fields: bytes, timeout_s: float | None = None) -> Answer:
        """Send a request and wait for its answer."""
        return self.take(self.send(kind, *fields), timeout_s)

    def forget(self, number: int) -> None:
        """Drop the answer to a request that nobody will ask for."""
        if self._answers.pop(number, None) is None:
            self._unwanted.add(number)

    def release(self, handle: bytes) -> None:
        """Close a handle (a field) without waiting; on a lost connection there is nothing left to close."""
        if self.is_alive:
            with contextlib.suppress(Broken):
                self.forget(self.send(Packet.CLOSE, handle))

    def offers(self, extension: bytes, version: bytes) -> bool:
        """True when the server has announced the extension."""
        return self.extensions.get(extension) == version

    def _begin(self) -> None:
        hint = f'machine {self._name}: the host offers no SFTP (transport = "scp" may work)'
        try:
            self._channel.invoke_subsystem("sftp")
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise Unreachable(hint) from error
        self._put(struct.pack(">BI", Packet.INIT, 3))
        try:
            kind, body = self._packet(self._timeout_s)
        except Broken as error:
            raise Unreachable(f"{hint}: {error}") from error
        if kind != Packet.VERSION:
            raise Unreachable(f"{hint}: it answers with other text; does a start-up file of the login print something?")
        fields = Reader(body)
        fields.u32()
        while not fields.is_at_end:
            name = fields.string()
            self.extensions[name] = fields.string()
        if self.offers(b"limits@openssh.com", b"1"):
            self._take_limits()

    def _take_limits(self) -> None:
        answer = self.ask(Packet.EXTENDED, string(b"limits@openssh.com"))
        if answer.kind != Packet.EXTENDED_REPLY:
            return
        fields = Reader(answer.body)
        fields.u64()
        reading, writing = fields.u64(), fields.u64()
        self.read_bytes = max(_SAFE_REQUEST_BYTES, min(reading, _LARGEST_REQUEST_BYTES))
        # Half of a chunk where it fits, so that a chunk needs no third, tiny request.
        self.write_bytes = 128 * 1024 if writing >= 128 * 1024 else _SAFE_REQUEST_BYTES

    def _put(self, payload: bytes) -> None:
        data = u32(len(payload)) + payload
        try:
            sent = 0
            while sent < len(data):
                count = self._channel.send(data[sent : sent + _SEND_BYTES])
                if count == 0:
                    raise EOFError
                sent += count
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._lost(error) from error

    def _packet(self, timeout_s: float) -> tuple[int, bytes]:
        self._fill(4, timeout_s)
        length = int.from_bytes(self._buffer[:4], "big")
        if not 0 < length <= _LARGEST_PACKET_BYTES:
            text = self._buffer[:40]
            raise Unreachable(
                f"machine {self._name}: what the host sends is not SFTP ({text!r}); does a start-up file of the login "
                "print something?"
            )
        self._fill(4 + length, timeout_s)
        kind, body = self._buffer[4], self._buffer[5 : 4 + length]
        self._buffer = self._buffer[4 + length :]
        return kind, body

    def _fill(self, count: int, timeout_s: float) -> None:
        if len(self._buffer) >= count:
            return
        pieces, have = [self._buffer], len(self._buffer)
        self._channel.settimeout(timeout_s)
        while have < count:
            try:
                piece = self._channel.recv(_RECEIVE_BYTES)
            except TimeoutError as error:
                raise Broken(f"machine {self._name}: no answer for {timeout_s:g} s") from error
            except (paramiko.SSHException, OSError, EOFError) as error:
                raise self._lost(error) from error
            if not piece:
                raise self._lost(None)
            pieces.append(piece)
            have += len(piece)
        self._buffer = b"".join(pieces)

    def _lost(self, error: BaseException | None) -> Broken:
        if isinstance(error, TimeoutError):
            return Broken(f"machine {self._name}: the host takes nothing for {self._timeout_s:g} s")
        return Broken(f"machine {self._name}: the connection was lost")
