"""A few threads for what takes time and is no dispatch: polls, ends, probes, cleaning."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)

#: Seconds after which a thread without work ends.
IDLE_S = 10.0


class Crew:
    """Does what it is given in order, on at most ``size`` threads, which come and go as they are needed."""

    def __init__(self, name: str, size: int) -> None:
        self._name, self._size = name, size
        self._changed = threading.Condition(threading.Lock())
        self._jobs: deque[Callable[[], None]] = deque()
        self._threads = self._idle = 0
        self._is_closed = False

    @property
    def is_idle(self) -> bool:
        """True when nothing is done and nothing waits."""
        with self._changed:
            return not self._jobs and self._idle == self._threads

    def do(self, job: Callable[[], None]) -> None:
        """Do this, behind all others."""
        with self._changed:
            if self._is_closed:
                return
            self._jobs.append(job)
            if len(self._jobs) <= self._idle:
                self._changed.notify()
            elif self._threads < self._size:
                self._threads += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def close(self) -> None:
        """Begin with nothing more; what is being done is not waited for."""
        with self._changed:
            self._is_closed = True
            self._jobs.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except BaseException:  # a plugin that raises even SystemExit must not take a thread with it
                log.exception("%s failed", self._name)

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: bool(self._jobs) or self._is_closed, IDLE_S)
            self._idle -= 1
            if self._jobs:
                return self._jobs.popleft()
            self._threads -= 1
            return None
