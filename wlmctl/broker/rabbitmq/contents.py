"""Messages as AMQP frames, written and read without pika, which takes ten times as long for each.

``Contents`` stands between a transport and pika's side of a connection: deliveries of the channels that it knows are
taken out of the stream of frames, everything else goes through. Only public interfaces of pika are used.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from time import monotonic
from typing import Any, NamedTuple

from pika import BasicProperties
from pika.adapters.utils.nbio_interface import AbstractStreamProtocol, AbstractStreamTransport
from pika.channel import Channel

from wlmctl.broker.contract import Outgoing

_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8
_FRAME = struct.Struct(">BHI")  # kind, channel, size of what follows, less the end
_CONTENT = struct.Struct(">HHQH")  # class, 0, size of the body, which properties there are
_DELIVERED = struct.Struct(">QB")  # the delivery's tag, and whether it was delivered before
_PUBLISH = struct.pack(">HHH", 60, 40, 0)
_DELIVER = struct.pack(">HH", 60, 60)
_END = b"\xce"
_ALIVE = _FRAME.pack(_HEARTBEAT, 0, 0) + _END

#: The bytes of a frame around what it carries.
AROUND = 8

#: Flags of the properties that messages of ours have; they stand in this order.
_DELIVERY_MODE, _PRIORITY, _CORRELATION_ID, _USER_ID = 0x1000, 0x0800, 0x0400, 0x0010
_OURS = _DELIVERY_MODE | _PRIORITY | _CORRELATION_ID | _USER_ID

#: Seconds between two signs of life for pika, which sees nothing of the deliveries.
SIGN_S = 1.0


class Properties(NamedTuple):
    """What is known of a message beside its body. ``user`` is who published it, empty where the broker says nothing."""

    user: str = ""
    priority: int = 0
    headers: dict[str, Any] | None = None


#: Is told the consumer, the tag, whether it was delivered before, the properties and the body.
Taker = Callable[[str, int, bool, Properties, bytes], None]


def frames(channel: int, exchange: str, message: Outgoing, number: int, user: str) -> bytes:
    """What publishes a message whose body is one frame; the broker refuses another's ``user``."""
    correlation, flags = str(number).encode(), _OURS
    mode = b"\x01" if message.transient else b"\x02"
    if message.priority:
        mode += bytes((message.priority,))
    else:
        flags ^= _PRIORITY
    known = b"".join((mode, bytes((len(correlation),)), correlation, _short(user)))
    body = message.body
    return b"".join((
        _publish(channel, exchange, message.queue),
        _FRAME.pack(_HEADER, channel, _CONTENT.size + len(known)), _CONTENT.pack(60, 0, len(body), flags), known, _END,
        _FRAME.pack(_BODY, channel, len(body)), body, _END,
    ))  # fmt: skip


@lru_cache(maxsize=1024)
def _publish(channel: int, exchange: str, queue: str) -> bytes:
    method = _PUBLISH + _short(exchange) + _short(queue) + b"\x01"  # mandatory
    return _FRAME.pack(_METHOD, channel, len(method)) + method + _END


@lru_cache(maxsize=1024)
def _short(text: str) -> bytes:
    encoded = text.encode()
    return bytes((len(encoded),)) + encoded


def properties(flags: int, encoded: bytes) -> Properties:
    """The properties of a message, which begin with the flags."""
    if flags & ~_OURS:
        known = BasicProperties().decode(encoded)
        return Properties(known.user_id or "", known.priority or 0, known.headers)
    position = 2 + bool(flags & _DELIVERY_MODE)
    priority = encoded[position] if flags & _PRIORITY else 0
    position += bool(flags & _PRIORITY)
    if flags & _CORRELATION_ID:
        position += 1 + encoded[position]
    user = encoded[position + 1 : position + 1 + encoded[position]].decode() if flags & _USER_ID else ""
    return Properties(user, priority)


def unseen(*_delivery: Any) -> None:
    """What pika would call with a delivery, if it saw one."""
    raise AssertionError("deliveries are taken before pika sees them")


class Writer:
    """Publishes through one channel; what has headers, or is no single frame, is left to pika."""

    def __init__(self, channel: Channel, contents: Contents, user: str) -> None:
        self._channel, self._contents, self._user = channel, contents, user
        self._longest = channel.connection.params.frame_max - AROUND

    def publish(self, exchange: str, message: Outgoing, number: int, headers: dict[str, str] | None) -> None:
        """Publish as ``mandatory``: the number says which one it is, if it comes back."""
        if headers is None and 0 < len(message.body) <= self._longest:
            self._contents.write(frames(self._channel.channel_number, exchange, message, number, self._user))
            return
        about = BasicProperties(
            delivery_mode=1 if message.transient else 2, priority=message.priority or None,
            correlation_id=str(number), headers=headers, user_id=self._user,
        )  # fmt: skip
        self._channel.basic_publish(exchange, message.queue, message.body, about, mandatory=True)


class _Content:
    """A delivery that is coming in."""

    __slots__ = ("consumer", "is_redelivered", "left", "parts", "properties", "tag")

    def __init__(self, method: bytes) -> None:
        end = 5 + method[4]
        self.consumer = method[5:end].decode()
        self.tag, bits = _DELIVERED.unpack_from(method, end)
        self.is_redelivered = bool(bits & 1)
        self.properties, self.left = Properties(), 0
        self.parts: list[bytes] = []


class Contents(AbstractStreamProtocol):  # type: ignore[misc]
    """The messages of one connection. ``takers``: by number of the channel, who is told of its deliveries."""

    def __init__(self) -> None:
        self.takers: dict[int, Taker] = {}
        self.pika: Any = None
        self._transport: AbstractStreamTransport | None = None
        self._coming: dict[int, _Content] = {}
        self._rest = b""
        self._told_s = 0.0

    def before(self, pika: AbstractStreamProtocol) -> Contents:
        """Stand before pika's side of a new connection."""
        self.pika, self._rest = pika, b""
        self._coming.clear()
        return self

    def write(self, frames: bytes) -> None:
        """Send frames behind all that pika has sent."""
        if self._transport is not None:
            self._transport.write(frames)

    def connection_made(self, transport: AbstractStreamTransport) -> None:
        """There is a transport."""
        self._transport = transport
        self.pika.connection_made(transport)

    def connection_lost(self, error: BaseException | None) -> None:
        """It has ended."""
        self._transport = None
        self.pika.connection_lost(error)

    def eof_received(self) -> bool | None:
        """The broker has closed it."""
        is_kept: bool | None = self.pika.eof_received()
        return is_kept

    def data_received(self, data: bytes) -> None:
        """Some bytes of the stream; a frame is passed on when all of it is there."""
        data = self._rest + data if self._rest else data
        start, end, has_taken = 0, len(data), False
        while end - start >= AROUND:
            kind, channel, size = _FRAME.unpack_from(data, start)
            if kind > _HEARTBEAT:  # the broker speaks another version, and says which
                self.pika.data_received(data[start:])
                start = end
                break
            behind = start + AROUND + size
            if behind > end:
                break
            if (channel in self.takers or channel in self._coming) and self._take(
                kind, channel, data[start + 7 : behind - 1]
            ):
                has_taken = True
            else:
                self.pika.data_received(data[start:behind])
            start = behind
        self._rest = data[start:]
        if has_taken and monotonic() - self._told_s > SIGN_S:
            self._told_s = monotonic()
            self.pika.data_received(_ALIVE)

    def _take(self, kind: int, channel: int, payload: bytes) -> bool:
        """True for a frame of a delivery; the last one completes it."""
        if kind == _METHOD:
            if not payload.startswith(_DELIVER):
                return False
            self._coming[channel] = _Content(payload)
            return True
        if (content := self._coming.get(channel)) is None:
            return False
        if kind == _HEADER:
            _, _, content.left, flags = _CONTENT.unpack_from(payload)
            content.properties = properties(flags, payload[12:])
        else:
            content.parts.append(payload)
            content.left -= len(payload)
        if content.left <= 0:
            del self._coming[channel]
            body = content.parts[0] if len(content.parts) == 1 else b"".join(content.parts)
            if (taker := self.takers.get(channel)) is not None:
                taker(content.consumer, content.tag, content.is_redelivered, content.properties, body)
        return True
