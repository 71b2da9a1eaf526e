"""What an SFTP session talks over: a line for bytes to the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Line(Protocol):
    """Bytes both ways between this process and an SFTP server. All but ``start``'s arguments is for one thread."""

    @property
    def is_alive(self) -> bool:
        """True while it is open, as far as this side knows."""
        ...

    def start(self, take: Callable[[bytes | memoryview], None], end: Callable[[], None]) -> None:
        """Begin: what arrives goes to ``take`` in another thread, and ``end`` is called when nothing more will come.

        Neither may wait, send or raise. Raises ``Unreachable`` where the host offers no SFTP.
        """
        ...

    def send(self, *parts: bytes | memoryview) -> None:
        """Send ``parts``; ``Broken`` when the connection is lost, or the host takes nothing for too long."""
        ...

    def dealt_with(self, count: int) -> None:
        """So many of the bytes that ``take`` was given have been dealt with: as many more may come."""
        ...

    def close(self) -> None:
        """End it; a second call does nothing."""
        ...


def no_sftp(name: str) -> str:
    """What to say of a host whose SFTP does not work."""
    return f'machine {name}: the host offers no SFTP (transport = "scp" may work)'
