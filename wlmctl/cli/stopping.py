"""Ctrl-C, SIGTERM and SIGHUP in a command that works: the first asks it to stop, a further one ends it at once."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import Any, Self

from wlmctl.errors import ExitCode

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = b"\x1b[?25h\n"


class Stopping:
    """While its ``with`` lasts, a signal only sets a flag; one that was ignored before (``nohup``) stays ignored.

    ``requests``: so many signals are noted, and the next one ends the process.
    """

    def __init__(self, requests: int = 1) -> None:
        self.number: int | None = None
        self.count = 0
        self._requests = requests
        self.hides_cursor = False
        self._before: dict[int, Any] = {}

    @property
    def is_asked(self) -> bool:
        """True once a signal has come."""
        return self.number is not None

    @property
    def exit_code(self) -> ExitCode:
        """130 after Ctrl-C, 143 after SIGTERM and SIGHUP."""
        return ExitCode.INTERRUPTED if self.number == signal.SIGINT else ExitCode.TERMINATED

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count <= self._requests:
            self.number = number if self.number is None else self.number
            return
        # The store's transactions and the jobs' fences bear an end at any moment; the terminal must be left usable.
        if self.hides_cursor:
            with suppress(OSError):
                os.write(2, _SHOW_CURSOR)
        os._exit(ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED)
