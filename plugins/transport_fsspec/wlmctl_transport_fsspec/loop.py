"""An event loop of one connection's own: what waits in it can be broken off, and nobody else's."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress


class OwnLoop:
    """A loop in a thread, until ``end``."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name="fsspec", daemon=True).start()

    def break_off(self) -> None:
        """End whatever waits in it now; from any thread."""
        with suppress(RuntimeError):  # it has ended
            self.loop.call_soon_threadsafe(self._doom)

    def end(self) -> None:
        """End it; nothing waits in it any more."""
        self.loop.call_soon_threadsafe(self.loop.stop)

    def _run(self) -> None:
        self.loop.run_forever()
        self.loop.close()

    def _doom(self) -> None:
        # In its next turn: what was begun in this one and needs no wait, as to close an answer, is done by then. What
        # comes after this one, as to close the sessions of whoever is broken off, is left alone.
        self.loop.call_soon(self._cancel, asyncio.all_tasks())

    @staticmethod
    def _cancel(tasks: set[asyncio.Task[object]]) -> None:
        for task in tasks:
            task.cancel()
