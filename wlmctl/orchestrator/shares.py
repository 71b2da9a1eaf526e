"""What each user and project has: what is under way now, and what was used lately."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.work import Work
from wlmctl.scheduler import Usage
from wlmctl.store import Database, usage

#: Seconds between two readings of what was used: it changes slowly.
READ_AGAIN_S = 60.0


class Shares:
    """Reads what was used from the store now and then, and counts what is under way."""

    def __init__(self) -> None:
        self._read_at = float("-inf")
        self._used: tuple[Mapping[str, float], Mapping[str, float]] = {}, {}

    def look(self, db: Database, now_s: float, works: Sequence[Work]) -> tuple[dict[str, Usage], dict[str, Usage]]:
        """The usage by user and by project: of those who have something under way or ready, or used something."""
        if not 0 <= now_s - self._read_at < READ_AGAIN_S:
            self._used, self._read_at = usage.decayed(db, now_s), now_s
        by_user, by_project = self._used
        return (
            _usage(works, lambda work: work.row.user, by_user),
            _usage(works, lambda work: work.row.project, by_project),
        )


def write(book: Book) -> None:
    """Keep what the attempts that have ended in this transaction have used."""
    usage.add(book.db, book.now_s, book.used)


def _usage(works: Iterable[Work], name_of: Callable[[Work], str | None], used: Mapping[str, float]) -> dict[str, Usage]:
    taken: dict[str, list[int]] = {name: [0, 0, 0] for name in used}
    for work in works:
        name = name_of(work)
        if name is None:
            continue
        sums = taken.setdefault(name, [0, 0, 0])
        for active in work.active.values():
            if active.resources is not None and active.resources.cpus:
                sums[0] += active.resources.cpus
                sums[1] += active.resources.memory_bytes
                sums[2] += active.resources.gpus
    return {
        name: Usage(cpus, used.get(name, 0.0), memory_bytes, gpus) for name, (cpus, memory_bytes, gpus) in taken.items()
    }
