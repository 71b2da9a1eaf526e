"""The data of one channel past paramiko's buffers, which copy all that is waiting whenever some of it is read."""

from __future__ import annotations

import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import paramiko
from paramiko.buffered_pipe import PipeTimeout
from paramiko.common import MSG_CHANNEL_DATA, MSG_CHANNEL_REQUEST, MSG_CHANNEL_WINDOW_ADJUST

from wlmctl.ssh.messages import Packets, Parts
from wlmctl.ssh.packets import FastPacketizer

#: How long a reader waits for as much as it asked for before it takes what is there.
_GATHER_S = 0.05
#: So many packets go out by one call: as many as a large request of SFTP makes.
_TOGETHER = 8
_FIELDS = struct.Struct(">BII")  # the type, the channel's number there, a number


class Pieces:
    """In place of a channel's ``in_buffer``: what has arrived, kept as it came. ``recv`` and the rest work as ever."""

    def __init__(self) -> None:
        self._pieces: deque[bytes | memoryview] = deque()
        self._size_bytes = 0
        self._wanted_bytes = 1
        self._changed = threading.Condition()
        self._event: Any = None
        self._closed = False

    def __len__(self) -> int:
        return self._size_bytes

    def set_event(self, event: Any) -> None:
        """Have ``event`` set whenever there is something to read, or nothing will come any more."""
        with self._changed:
            self._event = event
            if self._closed or self._pieces:
                event.set()
            else:
                event.clear()

    def feed(self, data: bytes | memoryview) -> None:
        """Take what has arrived; called by the connection's thread."""
        with self._changed:
            self._pieces.append(data)
            self._size_bytes += len(data)
            if self._event is not None:
                self._event.set()
            if self._size_bytes >= self._wanted_bytes:
                self._changed.notify()

    def close(self) -> None:
        """Nothing more will arrive."""
        with self._changed:
            self._closed = True
            if self._event is not None:
                self._event.set()
            self._changed.notify_all()

    def read_ready(self) -> bool:
        """True when ``read`` would not wait."""
        return self._size_bytes > 0

    def read(self, nbytes: int, timeout: float | None = None) -> bytes:
        """At least one byte and at most ``nbytes``; nothing at the end. ``PipeTimeout`` after ``timeout`` seconds."""
        with self._changed:
            if not self._pieces and not self._closed and timeout != 0.0:
                self._changed.wait_for(lambda: self._pieces or self._closed, timeout)
            if not self._pieces and not self._closed:
                raise PipeTimeout
            return self._taken(nbytes)

    def gather(self, count: int) -> None:
        """Wait a moment for ``count`` bytes, or the end: waking a reader for each packet costs more than the packet."""
        with self._changed:
            self._wanted_bytes = count
            self._changed.wait_for(lambda: self._size_bytes >= count or self._closed, _GATHER_S)
            self._wanted_bytes = 1

    def empty(self) -> bytes:
        """All that is here now."""
        with self._changed:
            return self._taken(self._size_bytes)

    def _taken(self, most: int) -> bytes:
        taken: list[bytes | memoryview] = []
        while self._pieces and most:
            piece = self._pieces.popleft()
            if len(piece) > most:
                self._pieces.appendleft(piece[most:])
                piece = piece[:most]
            most -= len(piece)
            taken.append(piece)
        self._size_bytes -= sum(map(len, taken))
        if self._event is not None and not self._pieces and not self._closed:
            self._event.clear()
        return b"".join(taken)


class Sink:
    """In place of a channel's ``in_buffer``: each piece goes to ``take`` as it comes, and ``end`` is called at the end.

    Both are called by the connection's thread (``end`` also by whoever closes the channel, perhaps again), and must
    neither wait, nor send, nor raise. ``reopen_window`` makes up for what was taken when it has been dealt with.
    """

    def __init__(self, take: Callable[[bytes | memoryview], None], end: Callable[[], None]) -> None:
        self.feed, self.close = take, end


def divert(channel: paramiko.Channel, buffer: Pieces | Sink) -> None:
    """Have what arrives on ``channel`` go into ``buffer``, until ``undivert``."""
    channel.in_buffer = buffer  # type: ignore[assignment]
    packetizer = _packetizer(channel)
    if isinstance(packetizer, FastPacketizer):
        packetizer.takers[channel.chanid] = buffer.feed


def undivert(channel: paramiko.Channel) -> None:
    """Nobody wants what may still arrive on ``channel``."""
    packetizer = _packetizer(channel)
    if isinstance(packetizer, FastPacketizer):
        packetizer.takers.pop(channel.chanid, None)


def _packetizer(channel: paramiko.Channel) -> object:
    return channel.transport.packetizer if channel.transport is not None else None


def receive(channel: paramiko.Channel, most: int, wanted: int) -> bytes:
    """At most ``most`` bytes, at least ``wanted`` where they come quickly; at the end and too late as ``recv`` says."""
    if isinstance(channel.in_buffer, Pieces):
        channel.in_buffer.gather(wanted)
    return channel.recv(most)


def request(channel: paramiko.Channel, kind: str, what: bytes) -> None:
    """Ask for a command ("exec") or a service ("subsystem"), without waiting: a channel that is refused it is closed.

    paramiko itself waits for the answer, and without an end.
    """
    message = paramiko.Message()
    message.add_byte(MSG_CHANNEL_REQUEST.to_bytes(1, "big")).add_int(channel.remote_chanid)
    message.add_string(kind).add_boolean(True).add_string(what)
    _send(channel, message)


def reopen_window(channel: paramiko.Channel, count: int) -> None:
    """Allow the host to send ``count`` bytes more; many small allowances go out as one. Not for the transport's thread,
    which would wait for itself while keys are exchanged."""
    owed = channel._check_add_window(count)  # type: ignore[attr-defined]
    if owed:
        _send(channel, Parts(_FIELDS.pack(MSG_CHANNEL_WINDOW_ADJUST, channel.remote_chanid, owed)))


def send_all(channel: paramiko.Channel, *parts: bytes | memoryview) -> None:
    """Send ``parts`` one behind the other; ``EOFError`` on a closed channel, ``TimeoutError`` when the host takes
    nothing for the channel's time-out."""
    left = sum(map(len, parts))
    waiting = deque(parts)
    while left:
        packets: list[Parts] = []
        with channel.lock:
            # Only the first may wait for the window: nothing opens it while packets are held back.
            while left and len(packets) < _TOGETHER and (not packets or channel.out_window_size):
                count = channel._wait_for_send_window(left)  # type: ignore[attr-defined]
                if not count:
                    raise EOFError
                left -= count
                fields = _FIELDS.pack(MSG_CHANNEL_DATA, channel.remote_chanid, count)
                packets.append(Parts(fields, *_cut(waiting, count)))
        with channel.transport.ends.sending(channel):  # type: ignore[union-attr]
            _send(channel, *packets)


def _cut(parts: deque[bytes | memoryview], count: int) -> Iterator[bytes | memoryview]:
    """Take the first ``count`` bytes off ``parts``."""
    while count:
        part = parts.popleft()
        if len(part) > count:
            view = memoryview(part)
            parts.appendleft(view[count:])
            part = view[:count]
        count -= len(part)
        yield part


def _send(channel: paramiko.Channel, *packets: paramiko.Message) -> None:
    if len(packets) > 1 and isinstance(_packetizer(channel), FastPacketizer):
        packets = (Packets(packets),)
    for packet in packets:
        channel.transport._send_user_message(packet)  # type: ignore[union-attr]
