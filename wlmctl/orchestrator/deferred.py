"""Asking for deferred tasks: one poll a place for all of them together."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
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

#: The pause is at least this where jobs wait in a queue, and as long as the last answer took: a queue that is slow is
#: asked less. What ends meanwhile is told together.
QUEUE_PAUSE_S = 1.0

#: Seconds between two polls of a task that somebody follows; of one in a queue ``QUEUE_PAUSE_S``, and the poll waits
#: on the machine for new output as for an end, since each costs the queue a listing.
FOLLOW_S = 0.5


@dataclass(slots=True)
class _Line:
    """The polls of one place. ``number`` is that of the newest; ``lost``: who was to answer it is gone; ``took_s`` is
    what the last answer took where there is a queue."""

    number: int = 0
    worker: str = ""
    asked_s: float | None = None
    answered_s: float = 0.0
    took_s: float = 0.0
    lost: bool = False


@dataclass(slots=True)
class _Tasks:
    """The deferred tasks of one place: ``new`` if one was never asked for, the youngest of those that are polled."""

    all: list[tuple[Work, Active]] = field(default_factory=list)
    new: bool = False
    youngest_s: float | None = None
    followed: list[tuple[Work, Active]] = field(default_factory=list)


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
            line.took_s = now - line.asked_s if line.asked_s is not None else 0.0
            line.asked_s, line.answered_s = None, now
            return True
        return False

    def lost(self, worker: str) -> None:
        """A worker is gone: what it was asked is asked again at once."""
        for line in self._lines.values():
            if line.worker == worker and line.asked_s is not None:
                line.asked_s, line.lost = None, True

    def ask(self, book: Book, works: Mapping[int, Work], routing: Routing, now: float) -> None:
        """Send the polls that are due."""
        self.next_s = None
        self.count = 0
        places: dict[str, _Tasks] = {}
        for work in works.values():
            for active in work.active.values():
                if active.handle is not None and active.state is TaskState.DEFERRED and active.place is not None:
                    self.count += 1
                    self._add(places, work, active)
        for name, tasks in places.items():
            if name not in routing.fleet.held and name in routing.fleet:
                self._ask(book, routing, name, tasks, now)

    def _add(self, places: dict[str, _Tasks], work: Work, active: Active) -> None:
        tasks = places.get(active.place or "")
        if tasks is None:
            tasks = places[active.place or ""] = _Tasks()
        tasks.all.append((work, active))
        if not active.watched:
            tasks.new = tasks.new or not active.polled
            if tasks.youngest_s is None or active.deferred_s > tasks.youngest_s:
                tasks.youngest_s = active.deferred_s
        if self._followed and (work.seq, active.idx) in self._followed:
            tasks.followed.append((work, active))

    def _ask(self, book: Book, routing: Routing, name: str, tasks: _Tasks, now: float) -> None:
        line = self._lines.setdefault(name, _Line())
        worker = routing.asked(name)
        if worker is None:
            return  # nobody reaches it; who comes is asked at once
        has_queue = routing.fleet.machine(name).has_queue
        due = self._due(line, tasks, book.now_s, has_queue=has_queue)
        if due > now:
            self.next_s = due if self.next_s is None else min(self.next_s, due)
            return
        chosen = _chosen(tasks)
        self._number += 1
        self._places.pop(line.number, None)
        self._places[self._number] = name
        line.number, line.worker, line.asked_s, line.lost = self._number, worker, now, False
        for _, active in chosen:
            active.polled = self._number
        is_soon = bool(tasks.followed) and not has_queue
        wait_s = 0.0 if is_soon or all(active.watched for _, active in chosen) else POLL_WAIT_S
        deferrals = [self._deferral(book, *pair) for pair in chosen]
        message = PollMessage(routing.fleet.machine(name), line.number, wait_s, deferrals)
        book.send(routing.control(worker), message)

    def _due(self, line: _Line, tasks: _Tasks, now_s: float, *, has_queue: bool) -> float:
        if line.asked_s is not None:
            return line.asked_s + POLL_LOST_S
        if line.lost:
            return 0.0
        took_s = line.took_s if has_queue else 0.0
        if tasks.followed:
            return line.answered_s + (max(QUEUE_PAUSE_S, took_s - POLL_WAIT_S) if has_queue else FOLLOW_S)
        if tasks.new and not has_queue:
            return 0.0  # one that no poll has asked for yet
        if tasks.youngest_s is None:
            return line.answered_s + WATCHED_POLL_S
        age_s = max(0.0, now_s - tasks.youngest_s)
        pause_s = min(POLL_PAUSE_S, age_s * POLL_AGE_SHARE) / -(-len(tasks.all) // POLL_LIMIT)  # once a pause for each
        return line.answered_s + max(pause_s, took_s, QUEUE_PAUSE_S if has_queue else 0.0)

    def _deferral(self, book: Book, work: Work, active: Active) -> Deferral:
        offsets = (-1, -1)
        if (work.seq, active.idx) in self._followed:
            offsets = (
                logs.live_end(book.db, work.seq, active.idx, active.attempt, "stdout"),
                logs.live_end(book.db, work.seq, active.idx, active.attempt, "stderr"),
            )
        return Deferral(active.key(work.seq), active.type, active.handle or {}, *offsets, nonce=active.nonce)


def _chosen(tasks: _Tasks) -> list[tuple[Work, Active]]:
    """Whom the next poll asks for: what is followed, then what was asked for longest ago, or never."""
    polled = [pair for pair in tasks.all if not pair[1].watched] or tasks.all
    if len(polled) > POLL_LIMIT:
        polled = heapq.nsmallest(POLL_LIMIT, polled, key=lambda pair: pair[1].polled)
    if not tasks.followed:
        return polled
    followed = {(work.seq, active.idx) for work, active in tasks.followed}
    others = [pair for pair in polled if (pair[0].seq, pair[1].idx) not in followed]
    return (tasks.followed + others)[:POLL_LIMIT]
