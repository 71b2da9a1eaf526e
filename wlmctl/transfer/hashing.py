"""The sha256 of what passes, in a thread of its own: hashlib lets the other threads work meanwhile."""

from __future__ import annotations

import hashlib
import queue
import threading
from typing import Any

#: Chunks that may wait to be hashed: they bound memory.
_WAITING = 8


class Hashing:
    """A sha256 that is fed chunk by chunk, and asked at the end or in between. ``close`` it: it has a thread."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._chunks: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None

    def update(self, chunk: bytes) -> None:
        """Feed a chunk, which must not be changed afterwards."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="wlm-hashing", daemon=True)
            self._thread.start()
        self._chunks.put(chunk)

    def hexdigest(self) -> str:
        """The sha256 of all that was fed, which may go on afterwards."""
        self._chunks.join()
        return self._sha256.hexdigest()

    def taken(self) -> Any:
        """hashlib's object with all that was fed, for somebody else to go on with."""
        self._chunks.join()
        return self._sha256

    def restart(self) -> None:
        """Forget all that was fed."""
        self._chunks.join()
        self._sha256 = hashlib.sha256()

    def close(self) -> None:
        """End the thread; a second call does nothing."""
        if self._thread is not None:
            self._chunks.put(None)
            self._thread = None

    def _work(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            self._sha256.update(chunk)
            self._chunks.task_done()
