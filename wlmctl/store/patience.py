"""Waiting for a store that does not answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from wlmctl.errors import StoreError

log = logging.getLogger(__name__)

#: Seconds between two tries: the first pause, and the longest. The longest is well below the term of a lease.
FIRST_S, LONGEST_S = 0.05, 1.0

#: Seconds without an outage after which the next one is told again.
QUIET_S = 5.0


class Patience:
    """For ``Database.patience``: waits as long as ``wanted`` says, and tells once what is waited for."""

    def __init__(self, wanted: Callable[[], bool] = lambda: True, tell: Callable[[str], None] = log.warning) -> None:
        self._wanted, self._tell = wanted, tell
        self._pause_s = FIRST_S
        self._last_s = -QUIET_S

    def __call__(self, outage: StoreError) -> None:
        """Wait a moment and return, or raise the outage when nobody wants to wait any longer."""
        now = time.monotonic()
        if now - self._last_s >= QUIET_S:
            self._pause_s = FIRST_S
            self._tell(f"{outage}; waiting for it")
        if not self._wanted():
            raise outage
        time.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_S)
        self._last_s = time.monotonic()


def for_seconds(limit_s: float) -> Callable[[], bool]:
    """True until so many seconds have passed."""
    deadline = time.monotonic() + limit_s
    return lambda: time.monotonic() < deadline
