"""Keeping a transfer within rates: who sends asks for leave for each chunk, and sleeps while too much was sent."""

from __future__ import annotations

import time
from collections.abc import Callable

#: What was not sent for a while may be sent at once later, but no more than this many seconds' worth.
BURST_S = 0.25

#: Seconds between two looks at what a rate is now, and the longest sleep between two checks.
LOOK_S, CHECK_S = 1.0, 0.1

Rate = Callable[[], float]


class Pace:
    """Called with the number of bytes about to be sent; returns when all its rates allow them.

    ``check`` is called while it waits, and may raise. Without a rate it never waits. For one thread at a time.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._limits: list[_Limit] = []

    def keep(self, rate: Rate, times: int = 1) -> None:
        """Keep to so many bytes a second, asked for about once a second, where each byte counts ``times``."""
        self._limits.append(_Limit(rate, times))

    def __call__(self, size_bytes: int) -> None:
        """So many bytes are about to be sent."""
        for limit in self._limits:
            limit.owe(size_bytes)
        for limit in self._limits:
            while (left_s := limit.left_s()) > 0:
                time.sleep(min(left_s, CHECK_S))
                self._check()


class _Limit:
    """One rate, and the bytes that were sent faster than it allows."""

    def __init__(self, rate: Rate, times: int) -> None:
        self._rate, self._times = rate, times
        self._owed_bytes = 0.0
        self._rate_bytes_s = 1.0
        self._seen_s = time.monotonic()
        self._looked_s = -LOOK_S

    def owe(self, size_bytes: int) -> None:
        self._pay()
        self._owed_bytes += size_bytes * self._times

    def left_s(self) -> float:
        """Seconds until everything is paid for."""
        self._pay()
        return self._owed_bytes / self._rate_bytes_s

    def _pay(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._rate_bytes_s, self._looked_s = max(1.0, self._rate()), now_s
        self._owed_bytes -= (now_s - self._seen_s) * self._rate_bytes_s
        self._owed_bytes = max(self._owed_bytes, -BURST_S * self._rate_bytes_s)
        self._seen_s = now_s
