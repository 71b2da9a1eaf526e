"""Asking for deferred tasks: one poll a place for all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wlmctl.message import Deferral, PollAnswerMessage, PollMessage
from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.routing import Routing
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

#: Seconds between two polls of a task that somebody follows.
FOLLOW_S = 0.5


@dataclass(slots=True)
class _Line:
    """The polls of one place. ``number`` is that of the newest."""

    number: int = 0
    worker: str = ""
    asked_s: float | None = None
    answered_s: float = 0.0
    keys: set[tuple[int, int]] = field(default_factory=set)


class Polls:
    """Which place is asked when. Times are on the monotonic clock unless said otherwise."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._number = 0
        self._places: dict[int, str] = {}
        self._followed: set[tuple[int, int]] = set()
        self.next_s: float | None = None
        #: How many tasks were deferred at the last look.
        self.count = 0

    def follow(self, followed: Iterable[tuple[int, int]]) -> None:
        """The tasks whose new output somebody wants."""
        self._followed = set(followed)

    def answered(self, message: PollAnswerMessage, now: float) -> bool:
        """Note an answer; True when it is that of the newest poll of its place."""
        if not message.number:
            return True
        line = self._lines.get(self._places.get(message.number, ""))
        if line is not None and message.number == line.number:
            line.asked_s, line.answered_s = None, now
            return True
        return False

    def lost(self, worker: str) -> None:
        """A worker is gone: what it was asked is asked again at once."""
        for line in self._lines.values():
            if line.worker == worker and line.asked_s is not None:
                line.asked_s, line.keys = None, set()

    def ask(self, book: Book, works: Mapping[int, Work], routing: Routing, now: float) -> None:
        """Send the polls that are due."""
        self.next_s = None
        self.count = 0
        places: dict[str, list[tuple[Work, Active]]] = {}
        for work in works.values():
            for active in work.active.values():
                if active.handle is not None and active.state is TaskState.DEFERRED and active.place is not None:
                    self.count += 1
                    places.setdefault(active.place, []).append((work, active))
        for name, tasks in places.items():
            if name not in routing.fleet.held and name in routing.fleet:
                self._ask(book, routing, name, tasks, now)

    def _ask(self, book: Book, routing: Routing, name: str, tasks: list[tuple[Work, Active]], now: float) -> None:
        line = self._lines.setdefault(name, _Line())
        worker = routing.asked(name)
        if worker is None:
            return  # nobody reaches it; who comes is asked at once
        due = self._due(line, tasks, book.now_s)
        if due > now:
            self.next_s = due if self.next_s is None else min(self.next_s, due)
            return
        polled = [pair for pair in tasks if not pair[1].watched] or tasks
        followed = [pair for pair in tasks if (pair[0].seq, pair[1].idx) in self._followed]
        chosen = (followed + [pair for pair in polled if pair not in followed])[:POLL_LIMIT]
        self._number += 1
        self._places.pop(line.number, None)
        self._places[self._number] = name
        line.number, line.worker, line.asked_s = self._number, worker, now
        line.keys = {(work.seq, active.idx) for work, active in chosen}
        wait_s = 0.0 if followed or all(active.watched for _, active in chosen) else POLL_WAIT_S
        deferrals = [self._deferral(book, *pair) for pair in chosen]
        message = PollMessage(routing.fleet.machine(name), line.number, wait_s, deferrals)
        book.send(routing.control(worker), message)

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
        return Deferral(active.key(work.seq), active.type, active.handle or {}, *offsets, nonce=active.nonce)
