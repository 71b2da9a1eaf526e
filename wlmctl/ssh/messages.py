"""Messages of SSH as the quick ways have them, in place of paramiko's that copy what they hold."""

from __future__ import annotations

from collections.abc import Sequence

import paramiko


class ChannelData(paramiko.Message):
    """A packet of channel data, whose two fields paramiko asks for: the channel's number and a string."""

    def __init__(self, plain: bytes) -> None:
        self._plain = plain  # the length of the padding, the type, then the fields

    def get_int(self) -> int:
        """The number of the channel."""
        return int.from_bytes(self._plain[2:6], "big")

    def get_binary(self) -> bytes:
        """The data."""
        return self._plain[10 : 10 + int.from_bytes(self._plain[6:10], "big")]


class Parts(paramiko.Message):
    """A packet to send, in parts that are put together only when it is sealed."""

    def __init__(self, *parts: bytes | memoryview) -> None:
        self.parts = parts

    def asbytes(self) -> bytes:
        """The packet in one piece."""
        return b"".join(self.parts)


class Packets(paramiko.Message):
    """Several packets, for one call to send them."""

    def __init__(self, packets: Sequence[paramiko.Message]) -> None:
        self.packets = packets
