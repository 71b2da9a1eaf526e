"""How far steps under way are: heard from the workers, written at a bounded rate, told as events ever more rarely."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from wlmctl.message import StepProgress, TaskKey
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.results import current
from wlmctl.orchestrator.work import Work
from wlmctl.store import progress
from wlmctl.store.progress import ProgressRow

#: Seconds between two writes, of all steps together.
WRITE_S = 2.0

#: An event tells of a step after so many seconds, then each time twice as many have passed, at most so many.
FIRST_EVENT_S, LONGEST_PAUSE_S = 10.0, 600.0

#: A step of a task: experiment, position, attempt.
_Step = tuple[int, int, int]


class Progressing:
    """``own`` asks the worker of this process; None: the workers of a fleet say it with their heartbeats."""

    def __init__(self, own: Callable[[], Iterable[StepProgress]] | None = None) -> None:
        self._own = own
        self._news: dict[TaskKey, StepProgress] = {}
        self._written: set[_Step] = set()
        #: When the next event of a step is due, and how long after the last one, on the monotonic clock.
        self._due: dict[_Step, tuple[float, float]] = {}
        self._write_s = 0.0

    def hear(self, steps: Iterable[StepProgress]) -> None:
        """Workers have said how far these are."""
        for step in steps:
            self._news[step.key] = step

    def advance(self, book: Book, works: Mapping[int, Work], now: float) -> None:
        """Write what is new, and strike out what is over; inside the transaction."""
        if now < self._write_s:
            return
        self._write_s = now + WRITE_S
        if self._own is not None:
            self.hear(self._own())
        news, self._news = self._news, {}
        rows = {
            (key.exp, key.idx, key.attempt): _row(said, book.now_s)
            for key, said in news.items()
            if _is_under_way(works, said)
        }
        over = {step for step in self._written if step not in rows and not _is_current(works, step)}
        if over:
            progress.remove(book.db, {step[:2] for step in over})
        if rows:
            progress.put(book.db, rows.values())
        self._written = (self._written - over) | rows.keys()
        self._due = {step: due for step, due in self._due.items() if step in self._written}
        for step, row in rows.items():
            self._tell(book, step, row, now)

    def _tell(self, book: Book, step: _Step, row: ProgressRow, now: float) -> None:
        due_s, pause_s = self._due.setdefault(step, (now + FIRST_EVENT_S, FIRST_EVENT_S))
        if now < due_s:
            return
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._due[step] = now + pause_s, pause_s
        book.of_number(row.exp).note(
            "progress", row.what, row.task, bytes_done=row.bytes_done, bytes_total=row.bytes_total,
            files_done=row.files_done, files_total=row.files_total, rate_bytes_s=round(row.rate_bytes_s),
            left_s=None if row.left_s is None else round(row.left_s, 1),
        )  # fmt: skip


def _is_under_way(works: Mapping[int, Work], said: StepProgress) -> bool:
    found = current(works, said.key, None)
    return found is not None and found[1].dispatch == said.key.dispatch and found[1].is_at_work


def _is_current(works: Mapping[int, Work], step: _Step) -> bool:
    exp, idx, attempt = step
    work = works.get(exp)
    active = work.active.get(idx) if work is not None else None
    return active is not None and active.attempt == attempt


def _row(said: StepProgress, now_s: float) -> ProgressRow:
    return ProgressRow(
        said.key.exp, said.key.idx, said.key.attempt, said.what, said.bytes_done, said.bytes_total, said.files_done,
        said.files_total, said.sent_bytes, said.resumed_bytes, said.skipped, said.rate_bytes_s, said.left_s,
        now_s,
    )  # fmt: skip
