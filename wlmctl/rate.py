"""How fast something goes, by what was done in the last seconds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

#: Seconds that are looked back, and between two notes that are kept.
SPAN_S, NOTE_EACH_S = 5.0, 0.2


class Rate:
    """Bytes a second over the last five: told what was done by now, read whenever one likes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._notes: deque[tuple[float, int]] = deque([(clock(), 0)])

    def note(self, done_bytes: int) -> None:
        """So much is done by now."""
        now_s = self._clock()
        if len(self._notes) > 1 and now_s - self._notes[-2][0] < NOTE_EACH_S:
            self._notes.pop()
        self._notes.append((now_s, done_bytes))
        while len(self._notes) > 2 and self._notes[1][0] < now_s - SPAN_S:
            self._notes.popleft()

    @property
    def bytes_s(self) -> float:
        """The rate; 0 where there is none yet, or nothing has come for a while."""
        now_s = self._clock()
        first = self._notes[0]
        for note in self._notes:
            if note[0] < now_s - SPAN_S:
                first = note
        elapsed_s = now_s - first[0]
        return (self._notes[-1][1] - first[1]) / elapsed_s if elapsed_s >= NOTE_EACH_S else 0.0

    def left_s(self, left_bytes: int) -> float | None:
        """Seconds until so many more bytes are done; None where that cannot be told."""
        rate = self.bytes_s
        return left_bytes / rate if rate > 0 else None
