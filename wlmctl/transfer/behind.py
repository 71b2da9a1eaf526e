"""The sha256 of a file of this host while it is sent: read once more, behind who sends it, and never in its way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from wlmctl.transfer.asked import Asked
from wlmctl.transfer.items import Item
from wlmctl.transfer.verify import beginning, drawn
from wlmctl.transport import Transport

#: As far behind what is sent the kernel still has it in memory. It is hashed when the sending is over, beside the far
#: side's tool, which takes as long: before, it would take the processors from those who send.
_BEHIND_BYTES = 1024**3
_LOOK_EACH_S = 0.1


class Behind:
    """The sha256 of ``item``, of which ``offset`` bytes were fed to ``sha256``. ``rest`` or ``give_up`` ends it."""

    def __init__(self, source: Transport, item: Item, offset: int, sha256: Any) -> None:
        self._source, self._item, self._sha256 = source, item, sha256
        self._offset = self._sent_bytes = offset
        self._is_sent = threading.Event()
        self._digest = Asked[str | None](self._read)

    def update(self, chunk: bytes) -> None:
        """A chunk more is being sent."""
        self._sent_bytes += len(chunk)

    def rest(self) -> Asked[str | None]:
        """All was sent: the digest, as soon as the rest is hashed."""
        self._is_sent.set()
        return self._digest

    def give_up(self) -> None:
        """Nobody wants to know any more."""
        self._digest.give_up()

    def _read(self, going: Callable[[], None]) -> str:
        item, at = self._item, self._offset
        with drawn(self._source, item.path, at) as chunks:
            for chunk in beginning(chunks, item.info.size_bytes - at):
                while at + _BEHIND_BYTES > self._sent_bytes and not self._is_sent.wait(_LOOK_EACH_S):
                    going()
                going()
                self._sha256.update(chunk)
                at += len(chunk)
        digest: str = self._sha256.hexdigest()
        return digest
