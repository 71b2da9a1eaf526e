"""Asking for deferred tasks: one poll a machine for all of them together, ends ordered and proven, time-outs kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wlmctl.message import Deferral, EndMessage, PollAnswerMessage, PollMessage, StopMessage
from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.work import Work
from wlmctl.states import TaskState
from wlmctl.store import logs

#: Deferred tasks in one poll message.
POLL_LIMIT = 1000

#: Seconds a poll waits on the machine for a first end.
POLL_WAIT_S = 1.0

#: Seconds after which an unanswered poll is sent again under the next number.
POLL_LOST_S = 120.0

#: Seconds between two polls of tasks whose end comes as an event: a second thought.
WATCHED_POLL_S = 30.0

#: The pause between two polls is this share of the youngest task's age, at most ``POLL_PAUSE_S``.
POLL_AGE_SHARE, POLL_PAUSE_S = 1 / 60, 5.0

#: Seconds between two polls of a task that somebody follows, and until an unproven end is ordered again.
FOLLOW_S, END_AGAIN_S = 0.5, 2.0


@dataclass(slots=True)
class _Line:
    """The polls of one machine."""

    number: int = 0
    asked_s: float | None = None
    answered_s: float = 0.0
    keys: set[tuple[int, int]] = field(default_factory=set)


class Polls:
    """Which machine is asked when. Times are on the monotonic clock unless said otherwise."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._followed: set[tuple[int, int]] = set()
        self.next_s: float | None = None

    def follow(self, followed: Iterable[tuple[int, int]]) -> None:
        """The tasks whose new output somebody wants."""
        self._followed = set(followed)

    def answered(self, message: PollAnswerMessage, now: float) -> bool:
        """Note an answer; True when it is that of the newest poll of its machine."""
        if not message.number:
            return True
        line = self._lines.setdefault(message.machine, _Line())
        if message.number == line.number:
            line.asked_s, line.answered_s = None, now
            return True
        return False

    def ask(self, book: Book, works: Mapping[int, Work], fleet: Fleet, now: float) -> None:
        """Send the polls that are due."""
        self.next_s = None
        machines: dict[str, list[tuple[Work, Active]]] = {}
        for work in works.values():
            for active in work.active.values():
                if active.handle is not None and active.state is TaskState.DEFERRED and active.machine is not None:
                    machines.setdefault(active.machine, []).append((work, active))
        for name, tasks in machines.items():
            if name not in fleet.held and name in fleet:
                self._ask(book, fleet, name, tasks, now)

    def _ask(self, book: Book, fleet: Fleet, name: str, tasks: list[tuple[Work, Active]], now: float) -> None:
        line = self._lines.setdefault(name, _Line())
        due = self._due(line, tasks, book.now_s)
        if due > now:
            self.next_s = due if self.next_s is None else min(self.next_s, due)
            return
        polled = [pair for pair in tasks if not pair[1].watched] or tasks
        followed = [pair for pair in tasks if (pair[0].seq, pair[1].idx) in self._followed]
        chosen = (followed + [pair for pair in polled if pair not in followed])[:POLL_LIMIT]
        line.number += 1
        line.asked_s = now
        line.keys = {(work.seq, active.idx) for work, active in chosen}
        wait_s = 0.0 if followed or all(active.watched for _, active in chosen) else POLL_WAIT_S
        book.send(
            PollMessage(fleet.machine(name), line.number, wait_s, [self._deferral(book, *pair) for pair in chosen])
        )

    def _due(self, line: _Line, tasks: Sequence[tuple[Work, Active]], now_s: float) -> float:
        if line.asked_s is not None:
            return line.asked_s + POLL_LOST_S
        if any((work.seq, active.idx) in self._followed for work, active in tasks):
            return line.answered_s + FOLLOW_S
        if any((work.seq, active.idx) not in line.keys and not active.watched for work, active in tasks):
            return 0.0  # one that no poll has asked for yet
        ages = [now_s - active.deferred_s for _, active in tasks if not active.watched]
        if not ages:
            return line.answered_s + WATCHED_POLL_S
        return line.answered_s + min(POLL_PAUSE_S, max(0.0, min(ages)) * POLL_AGE_SHARE)

    def _deferral(self, book: Book, work: Work, active: Active) -> Deferral:
        offsets = (-1, -1)
        if (work.seq, active.idx) in self._followed:
            offsets = (
                logs.live_end(book.db, work.seq, active.idx, active.attempt, "stdout"),
                logs.live_end(book.db, work.seq, active.idx, active.attempt, "stderr"),
            )
        return Deferral(active.key(work.seq), active.type, active.handle or {}, *offsets)


def order_ends(book: Book, works: Mapping[int, Work], fleet: Fleet, now: float) -> float | None:
    """Order the end of what is cancelled or over its time; when the next such order is due (monotonic)."""
    due = list[float]()
    for work in works.values():
        for active in work.active.values():
            over_s = _time_left_s(active, book.now_s)
            if over_s is not None and not active.timed_out:
                if over_s > 0:
                    due.append(now + over_s)
                    continue
                active.timed_out = True
            if active.state is not TaskState.CANCELLING and not active.timed_out:
                continue
            again = (active.end_sent_s + END_AGAIN_S) if active.end_sent_s is not None else now
            if again > now:
                due.append(again)
            elif active.handle is None and not active.sent:
                continue  # it is handed out again, to be ended, as soon as its machines answer
            elif active.machine not in fleet.held or active.handle is None:
                active.end_sent_s = now
                _order_end(book, work, active, fleet)
                due.append(now + END_AGAIN_S)
    return min(due, default=None)


def _order_end(book: Book, work: Work, active: Active, fleet: Fleet) -> None:
    if active.handle is None:
        if active.sent:
            book.send(StopMessage(active.key(work.seq)))
    elif active.machine in fleet:
        deferral = Deferral(active.key(work.seq), active.type, active.handle)
        book.send(EndMessage(fleet.machine(str(active.machine)), deferral))


def _time_left_s(active: Active, now_s: float) -> float | None:
    """Seconds until the attempt's time-out, or None when it has none or has not started."""
    if active.timeout_s is None or active.started_s is None:
        return None
    return active.started_s + active.timeout_s - now_s
