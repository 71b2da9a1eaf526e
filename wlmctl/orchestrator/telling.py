"""What users are told of tasks that wait for something other than their turn: one event for each group and reason."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.checking import Complaint
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.placing import Placement
from wlmctl.orchestrator.work import Work
from wlmctl.scheduler import Reason
from wlmctl.text import shown

log = logging.getLogger(__name__)

#: Codes of reasons that no end of a task will change: they are told even while other tasks run.
LASTING = frozenset({"role", "worker"})

#: Codes of reasons that nothing else in the store shows: without an event ``explain`` could not tell them.
UNSEEN = frozenset({"counter", "reserved"})

#: The code of what is told of the machine already.
HELD = "held"

#: Seconds in which one cause is not told again in other words.
AGAIN_S = 60.0

#: Characters of one event at most.
MOST = 1000


class Telling:
    """Remembers what has been told, so that the same is told once, however often it is found."""

    def __init__(self, scheduler: str) -> None:
        self._scheduler = scheduler
        self._complained: set[tuple[int, str]] = set()
        self._waiting: set[tuple[str, str]] = set()
        #: By group and code: when it was told last.
        self._told_s: dict[tuple[str, str], float] = {}

    def start_over(self) -> None:
        """The store may have lost what was told last: it is told again."""
        self._complained.clear()
        self._waiting.clear()
        self._told_s.clear()

    def complain(self, book: Book, works: Iterable[Work], complaints: Sequence[Complaint]) -> None:
        """One event in each experiment for each kind of complaint about the scheduler."""
        for complaint in complaints:
            text = _line(complaint.text)
            for work in works:
                if (work.seq, complaint.kind) not in self._complained:
                    self._complained.add((work.seq, complaint.kind))
                    log.warning("scheduler %s: %s", self._scheduler, text)
                    book.of(work).note("scheduler", f"{self._scheduler}: {text}")

    def waiting(
        self, book: Book, placement: Placement, reasons: Mapping[str, Reason], fleet: Fleet, asked: Iterable[str]
    ) -> None:
        """Tell why groups wait: for a machine or worker that is not there, or while nothing else is under way.

        ``asked`` are machines whose capacity is not known yet: what they have may be the answer.
        """
        is_open = any(name not in fleet.held for name in asked)
        for key, reason in reasons.items():
            work, group = placement.group(key)
            reason = _truly(reason, work)
            if not group.tasks or reason.code == HELD or (key, reason.text) in self._waiting:
                continue
            is_unbound = placement.is_unbound(key)
            if is_open and reason.code != "worker":
                continue
            if not (is_unbound or reason.code in LASTING | UNSEEN or not work.active):
                continue
            if book.now_s < self._told_s.get((key, reason.code), 0.0) + AGAIN_S:
                continue  # the same cause in other words, or with other figures
            self._waiting.add((key, reason.text))
            self._told_s[key, reason.code] = book.now_s
            text = _line(reason.text)
            log.info("%s: %s waits: %s", work.row.id, work.name(group.tasks[0]), text)
            own = {"each": group.own} if group.own is not None else {}
            code = _line(str(reason.code))
            book.of(work).note("waiting", text, group.tasks[0], tasks=len(group.tasks), code=code, **own)


def _truly(reason: Reason, work: Work) -> Reason:
    """What a scheduler takes for ``max_running`` may be the room of the workers: both are shown to it as one figure."""
    limit = work.experiment.max_running
    if reason.code != "max_running" or (limit is not None and work.under_way >= limit):
        return reason
    return Reason("slots", "every worker that can do it is busy")


def _line(text: str) -> str:
    """What a scheduler says as one line that any store can hold."""
    return shown(text if len(text) <= MOST else f"{text[: MOST - 3]}...")
