"""Ordering the end of what is cancelled or over its time, until it is proven."""

from __future__ import annotations

from collections.abc import Mapping

from wlmctl.message import Deferral, EndMessage, StopMessage, TaskKey
from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.routing import Routing
from wlmctl.orchestrator.work import Work

#: Seconds until an unproven end is ordered again.
END_AGAIN_S = 2.0

#: Tasks in one message.
LIMIT = 1000


def order(book: Book, works: Mapping[int, Work], routing: Routing, now: float) -> float | None:
    """Order the ends that are due; when the next such order is due (monotonic)."""
    due = list[float]()
    stops: dict[str, list[TaskKey]] = {}
    ends: dict[str, list[Deferral]] = {}
    for work in works.values():
        for active in work.active.values():
            is_to_end = active.is_to_end
            if active.timeout_s is None and not is_to_end:
                continue
            over_s = _time_left_s(active, book.now_s)
            if over_s is not None and not active.timed_out:
                if over_s > 0:
                    due.append(now + over_s)
                    continue
                active.timed_out = is_to_end = True
            if not is_to_end:
                continue
            again = (active.end_sent_s + END_AGAIN_S) if active.end_sent_s is not None else now
            if again > now:
                due.append(again)
            elif active.handle is None and not active.sent:
                continue  # it is handed out again, to be ended, as soon as its machines answer
            elif active.machine not in routing.fleet.held or active.handle is None:
                active.end_sent_s = now
                due.append(now + END_AGAIN_S)
                if active.handle is None:
                    for worker in routing.holders(active):
                        stops.setdefault(worker, []).append(active.key(work.seq))
                elif active.place is not None and active.place in routing.fleet:
                    deferral = Deferral(active.key(work.seq), active.type, active.handle, nonce=active.nonce)
                    ends.setdefault(active.place, []).append(deferral)
                    active.end_asked = routing.asked(active.place)
    _send(book, routing, stops, ends)
    return min(due, default=None)


def _send(book: Book, routing: Routing, stops: dict[str, list[TaskKey]], ends: dict[str, list[Deferral]]) -> None:
    for worker, keys in stops.items():
        for first in range(0, len(keys), LIMIT):
            book.send(routing.control(worker), StopMessage(keys[first : first + LIMIT]))
    for place, deferrals in ends.items():
        asked = routing.asked(place)
        if asked is None:
            continue
        for first in range(0, len(deferrals), LIMIT):
            message = EndMessage(routing.fleet.machine(place), deferrals[first : first + LIMIT])
            book.send(routing.control(asked), message)


def lost(works: Mapping[int, Work], worker: str) -> None:
    """A worker is gone: what it was to end is ordered again at once."""
    for work in works.values():
        for active in work.active.values():
            if active.end_asked == worker:
                active.end_asked = active.end_sent_s = None


def _time_left_s(active: Active, now_s: float) -> float | None:
    """Seconds until the attempt's time-out, or None when it has none or has not started."""
    if active.timeout_s is None or active.started_s is None:
        return None
    return active.started_s + active.timeout_s - now_s
