"""A broker that says nothing at all, not even its heartbeats: it hangs, or is stopped, and answers nobody meanwhile."""

from __future__ import annotations


class Silence:
    """Looks, once a tick, whether the broker has been silent for ``ticks``: then a missing answer tells of no queue."""

    def __init__(self, ticks: int) -> None:
        self._most, self._ticks, self._received = ticks, 0, 0

    def lasts(self, received_bytes: int) -> bool:
        """One tick later, with all that the connection has received: True while the broker is silent."""
        self._ticks = self._ticks + 1 if received_bytes == self._received else 0
        self._received = received_bytes
        return self._ticks >= self._most
