"""What runs commands on a far side, by whatever program it has logged in."""

from __future__ import annotations

from typing import Protocol

from wlmctl.text import shown
from wlmctl.transport import Completed

#: Characters of what a host says that are repeated to the user.
_MOST_SAID = 300


class Shell(Protocol):
    """A login over which commands run by ``sh``, several at a time from several threads."""

    timeout_s: float

    def run_script(self, script: str, stdin: bytes = b"", timeout_s: float | None = None) -> Completed:
        """Run ``script`` and wait for its end; ``Broken`` after ``timeout_s`` or a lost connection.

        ``TurnedAway`` where the login runs no command.
        """
        ...

    def is_active(self) -> bool:
        """True while the login is up, as far as this side knows."""
        ...

    def close(self) -> None:
        """Log out; a second call does nothing."""
        ...


def what_it_says(output: bytes) -> str:
    """What a host printed instead of running a command, as one line; it may be anything."""
    said = shown(" ".join(output[: 4 * _MOST_SAID].decode("utf-8", "replace").split()))
    return said if len(said) <= _MOST_SAID else f"{said[: _MOST_SAID - 3]}..."
