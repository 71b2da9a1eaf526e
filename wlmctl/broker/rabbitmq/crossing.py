"""Calls of other threads on their way to the link's thread: those that come together cross together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from wlmctl.broker.rabbitmq.bursts import BurstServices


class Crossing:
    """``call`` from any thread; the rest on the link's thread. ``run`` is given each call in turn."""

    def __init__(self, run: Callable[[Callable[[], None]], None]) -> None:
        self._run = run
        self._calls: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._services: BurstServices | None = None
        self._is_woken = False
        self._wake = threading.Event()

    def call(self, function: Callable[[], None]) -> None:
        """Have the function run on the link's thread, in the order of the calls."""
        self._calls.append(function)
        with self._lock:
            if self._is_woken:
                return
            self._is_woken = True
            self._wake.set()
            if self._services is not None:
                self._services.add_callback_threadsafe(self.drain)

    def reach(self, services: BurstServices | None) -> None:
        """From now on wake this loop, or none."""
        with self._lock:
            self._services = services
            self._is_woken = False
        if services is not None:
            services.add_callback_threadsafe(self.drain)

    def drain(self) -> None:
        """Run all calls that have come."""
        with self._lock:
            self._is_woken = False
            self._wake.clear()
        while self._calls:
            self._run(self._calls.popleft())

    def wait(self, timeout_s: float) -> bool:
        """Wait for a call while no loop runs; False after the time-out."""
        return self._wake.wait(timeout_s)
