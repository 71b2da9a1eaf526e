"""``wlmctl logs -f``: asks through the store for what running tasks print, and shows it as it comes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wlmctl.cli.common import now_s, write, write_bytes, write_line
from wlmctl.cli.log_pieces import STREAMS, Piece
from wlmctl.cli.waiting import commits, warn_when_nobody_works

if TYPE_CHECKING:
    from wlmctl.store.database import Database
    from wlmctl.store.rows import ExperimentRow, TaskRow

#: A wish for new output holds so long, and is renewed after half of it.
WISH_S = 10.0

#: States of a task in which nothing more comes.
_FINAL = frozenset({"succeeded", "failed", "cancelled", "skipped"})

#: So many of the last bytes shown are looked for in the kept tail, to go on behind them.
_SEAM_BYTES = 512


class Shown:
    """How far one stream of one attempt has been shown."""

    __slots__ = ("attempt", "end", "last")

    def __init__(self, attempt: int) -> None:
        self.attempt, self.end, self.last = attempt, 0, b""

    def new(self, start: int, content: bytes) -> bytes:
        """What of this piece, which begins at byte ``start``, has not been shown yet; it counts as shown now."""
        fresh = content[max(self.end - start, 0) :]
        if fresh:
            self.end, self.last = start + len(content), (self.last + fresh)[-_SEAM_BYTES:]
        return fresh

    def rest(self, tail: bytes, tail_bytes: int) -> bytes:
        """What the kept tail has behind what was shown. A full tail may begin anywhere: the seam is looked for.

        Where it is not unique, showing something twice is better than never.
        """
        if len(tail) < tail_bytes:
            return self.new(0, tail)
        seam = tail.find(self.last) if self.last else -1
        return tail[seam + len(self.last) :] if seam >= 0 else tail


class Follower:
    """Shows the output of these tasks until all have ended, or the experiment has."""

    def __init__(
        self, db: Database, row: ExperimentRow, tasks: Sequence[TaskRow], streams: Sequence[str], output: str
    ) -> None:
        self._db, self._row, self._streams, self._output = db, row, streams, output
        self._open = {task.idx: task for task in tasks}
        self._bare = len(tasks) == 1 and len(streams) == 1
        self._shown: dict[tuple[int, str], Shown] = {}
        self._titled: tuple[str, int, str] | None = None

    def run(self) -> None:
        """Follow to the end."""
        from wlmctl.store import experiments

        warn_when_nobody_works(self._db, [self._row])
        renew_s = 0.0
        while self._open:
            if time.monotonic() >= renew_s:
                self._wish()
                renew_s = time.monotonic() + WISH_S / 2
            for _ in commits(self._db, renew_s):
                row = experiments.get(self._db, self._row.seq)
                self._look()
                if row is None or (row.state in ("succeeded", "failed", "cancelled") and self._open):
                    return
                if not self._open:
                    break

    def _wish(self) -> None:
        from wlmctl.store import logs

        with self._db.transaction():
            for idx, task in self._open.items():
                if task.state not in _FINAL:
                    logs.follow(self._db, self._row.seq, idx, now_s() + WISH_S)

    def _look(self) -> None:
        from wlmctl.store import experiments

        for idx in list(self._open):
            before = self._open[idx]
            task = self._open[idx] = experiments.task(self._db, self._row.seq, idx)
            if task.attempt != before.attempt:
                self._show_kept(before)
            self._show_live(task)
            if task.state in _FINAL:
                self._show_kept(task)
                del self._open[idx]

    def _show_live(self, task: TaskRow) -> None:
        from wlmctl.store import logs

        attempt = max(task.attempt, 1)
        for stream in self._streams:
            shown = self._of(task, stream, attempt)
            for start, content in logs.live(self._db, task.exp, task.idx, attempt, stream, shown.end):
                self._write(task, attempt, stream, shown.new(start, content))

    def _show_kept(self, task: TaskRow) -> None:
        from wlmctl.store import logs

        attempt = max(task.attempt, 1)
        for stream, tail in zip(STREAMS, logs.get(self._db, task.exp, task.idx, attempt) or (b"", b""), strict=True):
            if stream in self._streams:
                self._write(task, attempt, stream, self._of(task, stream, attempt).rest(tail, logs.TAIL_BYTES))

    def _of(self, task: TaskRow, stream: str, attempt: int) -> Shown:
        shown = self._shown.get((task.idx, stream))
        if shown is None or shown.attempt != attempt:
            shown = self._shown[task.idx, stream] = Shown(attempt)
        return shown

    def _write(self, task: TaskRow, attempt: int, stream: str, content: bytes) -> None:
        if not content:
            return
        piece = Piece(task.name, attempt, stream, content)
        if self._output == "json":
            write_line({"version": 1, **piece.as_json()})
            return
        title = (task.name, attempt, stream)
        if not self._bare and title != self._titled:
            write(("" if self._titled is None else "\n") + piece.title)
        self._titled = title
        write_bytes(content)
