"""What lives on the connection and outlives it: both halves of a channel, and the errands."""

from __future__ import annotations

from typing import Protocol

from pika import SelectConnection


class Line(Protocol):
    """Something that lives on the connection; all its methods are called on the link's thread."""

    def up(self, connection: SelectConnection) -> None:
        """A connection is there."""
        ...

    def down(self, reason: str) -> None:
        """It is gone, with all that was on it."""
        ...

    def tick(self, now_s: float) -> None:
        """Some time has passed."""
        ...
