"""SSH packets under AES-GCM, read and written with few copies and few system calls: a packetizer for paramiko.

What arrives is received into one buffer and opened there; channel data is handed on without paramiko's ``BytesIO``;
what is sent goes out by one ``writev``. Until such a cipher is in use, and with a paramiko whose private parts are not
the ones below, all is paramiko's own.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import paramiko
from cryptography.exceptions import InvalidTag
from paramiko.common import MSG_CHANNEL_DATA
from paramiko.packet import Packetizer

from wlmctl.ssh.messages import ChannelData, Packets, Parts

_BUFFER_BYTES = 256 * 1024
#: Far above what a peer may send, since we never announce channel packets of more than 32 KiB.
_LARGEST_PACKET_BYTES = _BUFFER_BYTES - 64
_BLOCK_BYTES, _TAG_BYTES = 16, 16
#: What a connection has in its hands at most; so much freed memory stays with the process, twice over.
_IN_HAND_BYTES = 8 * 1024 * 1024
#: So long (a timeval) a call waits for the peer before a look whether the connection was closed or needs a keepalive.
_LOOK_AGAIN = struct.pack("ll", 0, 250_000)

#: Of Linux: acknowledge now what has been read.
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)

_U32 = struct.Struct(">I")
#: How an opened packet begins: the length of the padding, the type, and of channel data the channel and a length.
_HEAD = struct.Struct(">BBII")
_PADDINGS = [bytes(length) for length in range(2 * _BLOCK_BYTES)]
_PADDING_LENGTHS = [bytes([length]) for length in range(2 * _BLOCK_BYTES)]


class _Cipher:
    """AES-GCM in one direction: its key, and the nonce, which counts the packets."""

    def __init__(self, engine: Any, iv: bytes) -> None:
        self.engine = engine
        self._fixed, self._count = iv[:4], int.from_bytes(iv[4:], "big")

    def nonce(self) -> bytes:
        """The nonce of the next packet."""
        count, self._count = self._count, (self._count + 1) % 2**64
        return self._fixed + count.to_bytes(8, "big")


def _cipher(options: dict[str, Any], iv: str) -> _Cipher | None:
    """The cipher that paramiko sets with these ``options``, if it is AES-GCM."""
    return _Cipher(options["block_engine"], options[iv]) if options.get("aead") else None


class FastPacketizer(Packetizer):
    """paramiko's packetizer, each direction replaced while its cipher is AES-GCM. Does not compress."""

    #: Without a byte taken by the peer for so long, a send fails.
    longest_silence_s = 30.0

    _Packetizer__remainder: bytes
    _Packetizer__sequence_number_in: int
    _Packetizer__sequence_number_out: int
    _Packetizer__keepalive_last: float

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self._sock = sock
        #: By the number of a channel who takes its data, past paramiko. To be called by the thread that reads.
        self.takers: dict[int, Callable[[memoryview], None]] = {}
        self._opening: _Cipher | None = None
        self._sealing: _Cipher | None = None
        self._sending = threading.Lock()
        #: Held while the descriptor is asked for and used: once it is closed another connection may have its number.
        self._reading, self._writing, self._closing = threading.Lock(), threading.Lock(), threading.Lock()
        self._view = memoryview(b"")
        self._start = self._end = 0  # of what has arrived and is not yet read
        self._is_socket = isinstance(sock, socket.socket)  # the way through a jump host is a channel of paramiko's
        if self._is_socket:
            # The calls themselves wait for the peer: to try, to poll and to try again are three, and at each of them
            # the interpreter's lock may change hands. paramiko's own calls, which poll first, work as before.
            for timeout in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                sock.setsockopt(socket.SOL_SOCKET, timeout, _LOOK_AGAIN)
            os.set_blocking(sock.fileno(), True)

    def close(self) -> None:
        """End the connection; whoever waits for the peer notices at once."""
        with self._closing:
            if self._is_socket:
                with contextlib.suppress(OSError):
                    self._sock.shutdown(socket.SHUT_RDWR)  # which ends their calls, and so their hold on it
            with self._reading, self._writing:
                super().close()

    def set_inbound_cipher(self, *args: Any, **options: Any) -> None:
        """Change the cipher of what arrives; called between two packets."""
        super().set_inbound_cipher(*args, **options)
        was_ours, self._opening = self._opening is not None, _cipher(options, "iv_in")
        if self._opening is not None and not was_ours:
            left = self._Packetizer__remainder
            _keep_freed_memory()
            self._view = memoryview(bytearray(_BUFFER_BYTES))
            self._view[: len(left)] = left
            self._start, self._end, self._Packetizer__remainder = 0, len(left), b""
        elif self._opening is None and was_ours:
            self._Packetizer__remainder = bytes(self._view[self._start : self._end])

    def set_outbound_cipher(self, *args: Any, **options: Any) -> None:
        """Change the cipher of what is sent; nobody sends meanwhile."""
        super().set_outbound_cipher(*args, **options)
        self._sealing = _cipher(options, "iv_out")

    def send_message(self, data: paramiko.Message) -> None:
        """Seal and send one packet, or several."""
        packets = data.packets if isinstance(data, Packets) else [data]
        if self._sealing is None:
            for packet in packets:
                super().send_message(packet)
            return
        with self._sending:
            self._put([part for packet in packets for part in self._sealed(packet, self._sealing)])

    def _sealed(self, packet: paramiko.Message, cipher: _Cipher) -> tuple[bytes, bytes]:
        """The length of the packet that is sent next, and all that follows it."""
        parts = packet.parts if isinstance(packet, Parts) else (packet.asbytes(),)
        length = 1 + sum(map(len, parts))
        padding = _BLOCK_BYTES - length % _BLOCK_BYTES
        if padding < 4:
            padding += _BLOCK_BYTES
        size = _U32.pack(length + padding)
        # Padding of zeros tells nobody anything: it is sealed, and the packet's length shows how long it is.
        plain = b"".join((_PADDING_LENGTHS[padding], *parts, _PADDINGS[padding]))
        self._Packetizer__sequence_number_out = (self._Packetizer__sequence_number_out + 1) % 2**32
        return size, cipher.engine.encrypt(cipher.nonce(), plain, size)

    def read_message(self) -> tuple[int, paramiko.Message]:
        """The type of the next packet, and its fields; channel data that ``takers`` take has gone to them before."""
        while self._opening is not None:
            plain = self._next(self._opening)
            number = self._Packetizer__sequence_number_in
            self._Packetizer__sequence_number_in = (number + 1) % 2**32
            padding, kind, channel, length = _HEAD.unpack_from(plain)
            message: paramiko.Message
            if kind != MSG_CHANNEL_DATA:
                message = paramiko.Message(plain[2 : len(plain) - padding])
            elif (take := self.takers.get(channel)) is None:
                message = ChannelData(plain)
            else:
                take(memoryview(plain)[_HEAD.size : _HEAD.size + length])
                continue
            message.seqno = number
            return kind, message
        return super().read_message()

    def _next(self, cipher: _Cipher) -> bytes:
        """Receive the next packet, and open it."""
        if self._end - self._start < 4:
            self._fill(4)
        size = _U32.unpack_from(self._view, self._start)[0]
        if size % _BLOCK_BYTES or not 0 < size <= _LARGEST_PACKET_BYTES:
            raise paramiko.SSHException(f"a packet of {size} bytes")
        whole = 4 + size + _TAG_BYTES
        if self._end - self._start < whole:
            self._fill(whole)
        start, body, end = self._start, self._start + 4, self._start + whole
        try:
            plain: bytes = cipher.engine.decrypt(cipher.nonce(), self._view[body:end], self._view[start:body])
        except InvalidTag as error:
            raise paramiko.SSHException("a packet was changed on its way") from error
        self._start = end
        return plain

    def _fill(self, count: int) -> None:
        """Receive until ``count`` bytes are there that nobody has read."""
        left = self._end - self._start
        if left == 0 or self._start + count > len(self._view):
            self._view[:left] = self._view[self._start : self._end]
            self._start, self._end = 0, left
        while self._end - self._start < count:
            self._end += self._receive(self._view[self._end :])

    def _receive(self, into: memoryview) -> int:
        """Wait for the peer to send something, and receive it."""
        while True:
            try:
                if self._is_socket:
                    with self._reading:
                        count = os.readv(self._sock.fileno(), (into,))
                else:
                    data = self._sock.recv(len(into))
                    count = len(data)
                    into[:count] = data
            except (BlockingIOError, TimeoutError):
                if self.closed or self.handshake_timed_out():
                    raise EOFError from None
                self._check_keepalive()  # type: ignore[attr-defined]
                continue
            except OSError as error:
                if self.closed:
                    raise EOFError from error
                raise
            if count == 0:
                raise EOFError
            if not self.takers:
                self._acknowledge()
            return count

    def _acknowledge(self) -> None:
        """Do not let sshd wait for our delayed ack: until it has run something it sends nothing more while anything is
        unacknowledged, such as its list of host keys, and would answer the wish for the first channel 40 ms later."""
        if self._is_socket and _QUICKACK is not None:
            with self._reading, contextlib.suppress(OSError):
                self._sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def _put(self, waiting: list[bytes | memoryview]) -> None:
        if not self._is_socket:
            self.write_all(b"".join(waiting))
            return
        self._Packetizer__keepalive_last = time.time()
        taken_s = time.monotonic()
        while waiting:
            try:
                with self._writing:
                    count = os.writev(self._sock.fileno(), waiting)
            except BlockingIOError:
                if self.closed or time.monotonic() > taken_s + self.longest_silence_s:
                    raise EOFError from None
                continue
            except OSError as error:
                raise EOFError from error
            taken_s = time.monotonic()
            while waiting and count >= len(waiting[0]):
                count -= len(waiting.pop(0))
            if count:
                waiting[0] = memoryview(waiting[0])[count:]


def _keep_freed_memory() -> None:
    """Have glibc keep pages that are freed: it gave those of each piece back, and had them cleared for the next one.

    It learns from the largest block that was ever freed. Elsewhere this does nothing.
    """
    bytes(_IN_HAND_BYTES)  # never touched, so that it costs nothing


def is_known(packetizer: Packetizer) -> bool:
    """True for a paramiko whose packetizer has the private parts that are used here."""
    private = {name for name in FastPacketizer.__annotations__ if name.startswith("_Packetizer")}
    inbound = inspect.signature(packetizer.set_inbound_cipher).parameters
    outbound = inspect.signature(packetizer.set_outbound_cipher).parameters
    return (
        private <= vars(packetizer).keys()
        and hasattr(packetizer, "_check_keepalive")
        and {"block_engine", "aead", "iv_in"} <= inbound.keys()
        and {"block_engine", "aead", "iv_out"} <= outbound.keys()
    )


_NO_SOCKET: Any = None
#: What an SSH connection uses: ours, or paramiko's own where that is another one than we know.
PACKETIZER: type[Packetizer] = FastPacketizer if is_known(Packetizer(_NO_SOCKET)) else Packetizer
