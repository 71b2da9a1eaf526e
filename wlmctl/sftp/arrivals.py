"""Answers on their way from the thread that receives them to the one that waits for some of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from wlmctl.sftp.answers import Answer

#: With so many bytes at hand whoever waits is woken for those: the host sends no more than the window holds.
_PLENTY_BYTES = 64 * 1024

#: In place of a number: whatever comes. Requests are numbered from 1.
ANY, _NONE = -1, 0


class Arrivals:
    """What has arrived, in order. To wake who waits costs more than an answer: it is woken for the one it wants."""

    def __init__(self) -> None:
        # Its lock may be taken again by who has it: a collector may close the line anywhere.
        self._changed = threading.Condition()
        self._answers: list[Answer] = []
        self._size_bytes, self._wanted = 0, _NONE
        self._is_over = False

    def add(self, answers: Sequence[Answer]) -> None:
        """These have come."""
        with self._changed:
            self._answers += answers
            self._size_bytes += sum(answer.size_bytes for answer in answers)
            wanted = self._wanted
            if wanted == _NONE:
                return
            if wanted == ANY or self._size_bytes >= _PLENTY_BYTES or any(each.number == wanted for each in answers):
                self._changed.notify()

    def end(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._is_over = True
            self._changed.notify()

    def take(self, wanted: int, timeout_s: float) -> list[Answer] | None:
        """What is here, or will be when the answer ``wanted`` has come; nothing when time is over, None at the end."""
        with self._changed:
            if not self._answers and not self._is_over:
                self._wanted = wanted
                self._changed.wait(timeout_s)
                self._wanted = _NONE
            if not self._answers and self._is_over:
                return None
            answers, self._answers, self._size_bytes = self._answers, [], 0
        return answers
