"""How fast something goes, by what was done in the last seconds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

#: Seconds that are looked back, and between two notes that are kept.
SPAN_S, NOTE_EACH_S = 5.0, 0.2

#: What a file costs beside its bytes, in bytes: without it a minute of small files lets a large one seem to take days.
FILE_BYTES = 1 << 16


class Rate:
    """Bytes a second over the last five: told what was done by now, read whenever one likes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._notes: deque[tuple[float, int, int]] = deque([(clock(), 0, 0)])

    def note(self, done_bytes: int, done_files: int = 0) -> None:
        """So much is done by now."""
        now_s = self._clock()
        if len(self._notes) > 1 and now_s - self._notes[-2][0] < NOTE_EACH_S:
            self._notes.pop()
        self._notes.append((now_s, done_bytes, done_files))
        while len(self._notes) > 2 and self._notes[1][0] < now_s - SPAN_S:
            self._notes.popleft()

    @property
    def bytes_s(self) -> float:
        """The rate; 0 where there is none yet, or nothing has come for a while."""
        return self._done_each_s(0)

    def left_s(self, left_bytes: int, left_files: int = 0) -> float | None:
        """Seconds until so much more is done; None where that cannot be told, as before the first of many files is."""
        each_s = self._done_each_s(FILE_BYTES)
        is_first = left_files > 1 and self._notes[-1][2] == 0 and self._notes[-1][1] < FILE_BYTES
        return (left_bytes + FILE_BYTES * left_files) / each_s if each_s > 0 and not is_first else None

    def _done_each_s(self, file_bytes: int) -> float:
        now_s = self._clock()
        first = self._notes[0]
        for note in self._notes:
            if note[0] < now_s - SPAN_S:
                first = note
        elapsed_s = now_s - first[0]
        last = self._notes[-1]
        done = last[1] - first[1] + file_bytes * (last[2] - first[2])
        return done / elapsed_s if elapsed_s >= NOTE_EACH_S else 0.0
