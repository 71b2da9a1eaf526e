"""What runs commands on a far side, by whatever program it has logged in."""

from __future__ import annotations

from typing import Protocol

from wlmctl.transport import Completed


class Shell(Protocol):
    """A login over which commands run by ``sh``, several at a time from several threads."""

    timeout_s: float

    def run_script(self, script: str, stdin: bytes = b"", timeout_s: float | None = None) -> Completed:
        """Run ``script`` and wait for its end; ``Broken`` after ``timeout_s`` or a lost connection."""
        ...

    def is_active(self) -> bool:
        """True while the login is up, as far as this side knows."""
        ...

    def close(self) -> None:
        """Log out; a second call does nothing."""
        ...
