"""Tasks that kill their workers: each death is counted, the second isolates, the third ends it.

Only a worker that is proven dead counts, and only for what it was heard to have begun. Drains, restarts of the broker
and lost connections count nothing; a worker that turns out to live after all has killed nobody. One that had begun more
than it has slots was starting many together, which says little of each: what this befalls three times is begun for
itself from then on, and counted.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from wlmctl.host import ProcessIdentity, host_id, is_gone
from wlmctl.message import Outcome
from wlmctl.orchestrator import ending
from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.registry import Member
from wlmctl.orchestrator.work import Work

log = logging.getLogger(__name__)

#: Deaths after which a task is executed alone in its worker, and after which it is not executed any more.
ALONE, QUARANTINE = 2, 3

#: Deaths of workers that were starting it with many others, after which a task is started for itself.
TOGETHER = 3

#: Dead workers that are remembered, in case they come back.
REMEMBERED = 1000


class Poison:
    """Counts deaths, by task."""

    def __init__(self) -> None:
        self._blamed: dict[ProcessIdentity, list[tuple[int, int]]] = {}

    def died(self, book: Book, member: Member, had: list[tuple[Work, Active]]) -> None:
        """A worker is dead; ``had`` are its dispatches, which are to be handed out again."""
        if not _is_killed(member):
            return
        begun = [(work, active) for work, active in had if active.is_begun and active.holder == member.id]
        together, counted = ([], begun) if len(begun) <= member.info.slots else (begun, [])
        for work, active in together:
            care = work.mind(active.idx)
            care.deaths_together += 1
            if care.deaths_together >= TOGETHER:
                be_careful(book, work, active, f"{TOGETHER} workers died while they began this with others")
        for work, active in had:
            if (work, active) not in begun:
                be_careful(book, work, active, f"worker {member.info.name} may have died of this")
        for work, active in counted:
            care = work.mind(active.idx)
            care.kills += 1
            active.kills = care.kills
            reason = f"worker {member.info.name} died while it executed this"
            book.of(work).task_fields(active.idx, "killed", reason, kills=care.kills)
            if care.kills >= QUARANTINE:
                log.warning("%s: %s has killed three workers: not any more", work.row.id, work.name(active.idx))
                outcome = Outcome("failed", "it has killed three workers", "infra")
                ending.fail(book, work, active, outcome)
        if counted:
            self._blamed[member.process] = [(work.seq, active.idx) for work, active in counted]
            if len(self._blamed) > REMEMBERED:
                del self._blamed[next(iter(self._blamed))]

    def is_alive_after_all(self, book: Book, member: Member, works: Mapping[int, Work]) -> None:
        """A worker has come: where its process was taken for dead, it was only cut off."""
        for seq, idx in self._blamed.pop(member.process, ()):
            work = works.get(seq)
            care = work.care.get(idx) if work is not None else None
            if work is None or care is None or not care.kills:
                continue
            care.kills -= 1
            if idx in work.active:
                work.active[idx].kills = care.kills
            reason = f"worker {member.info.name} was only cut off"
            book.of(work).task_fields(idx, "killed", reason, kills=care.kills)


def be_careful(book: Book, work: Work, active: Active, reason: str) -> None:
    """The task may have begun a moment before its worker died: from now on it is announced before it begins."""
    care = work.mind(active.idx)
    if not care.is_careful:
        care.is_careful = True
        book.of(work).task_fields(active.idx, "careful", reason, careful=1)


def _is_killed(member: Member) -> bool:
    """True where nothing but its death explains that it is away."""
    if not member.is_taking or not member.heard:
        return False  # it was ending, or has not been heard since the connection came back
    return member.info.host != host_id() or is_gone(member.process)
