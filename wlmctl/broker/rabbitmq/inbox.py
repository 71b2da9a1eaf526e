"""Deliveries on their way from the link's thread to the threads that receive them."""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic

from wlmctl.broker.contract import Delivery


class Inbox:
    """Filled by one thread, emptied by many. The lock is taken only where somebody waits."""

    def __init__(self) -> None:
        self._arrived: deque[Delivery] = deque()
        self._changed = threading.Condition()
        self._is_awaited = self._is_woken = False
        self.is_closed = False

    def put(self, delivery: Delivery) -> None:
        """A message has come."""
        self._arrived.append(delivery)
        if self._is_awaited:
            self._is_awaited = False
            with self._changed:
                self._changed.notify_all()

    def clear(self) -> None:
        """Forget all: the broker gives them to others."""
        self._arrived.clear()

    def close(self) -> None:
        """Wake all who wait: nothing will come."""
        self.is_closed = True
        self._arrived.clear()
        with self._changed:
            self._changed.notify_all()

    def wake(self) -> None:
        """Let one who waits return with nothing, now or when it waits next."""
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def take(self, limit: int, timeout_s: float | None) -> list[Delivery] | None:
        """What has arrived, at most ``limit``; waits for the first one.

        None after the time-out, empty when closed or woken.
        """
        found = self._pop(limit)
        if found or self.is_closed or timeout_s == 0:
            return found or None
        end_s = None if timeout_s is None else monotonic() + timeout_s
        with self._changed:
            while True:
                self._is_awaited = True  # before the look: who puts afterwards sees it
                if (found := self._pop(limit)) or self.is_closed:
                    return found
                if self._is_woken:
                    self._is_woken = False
                    return found
                left_s = None if end_s is None else end_s - monotonic()
                if left_s is not None and left_s <= 0:
                    return None
                self._changed.wait(left_s)

    def _pop(self, limit: int) -> list[Delivery]:
        found: list[Delivery] = []
        try:
            while len(found) < limit:
                found.append(self._arrived.popleft())
        except IndexError:
            pass
        return found
