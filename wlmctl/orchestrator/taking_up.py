"""Which experiments the orchestrator works on: taken up from the store, read again when others have changed them."""

from __future__ import annotations

import logging
from collections.abc import Collection

from wlmctl.errors import StoreError, WlmctlError
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.routing import LOCAL_ON, Routing
from wlmctl.orchestrator.work import Work
from wlmctl.store import Database, experiments
from wlmctl.store.rows import ExperimentRow

log = logging.getLogger(__name__)


class Works(dict[int, Work]):
    """The experiments in memory, by their number in the store.

    ``is_leader``: they are all that were submitted, and one that cannot be worked on must not keep it from the others.
    ``upto``: up to which running number dispatches had reached the broker when this leader began; None: there is none
    that outlives a leader.
    """

    def __init__(self, routing: Routing, *, is_leader: bool, upto: int | None) -> None:
        super().__init__()
        self._routing, self._is_leader, self._upto = routing, is_leader, upto
        self._unusable: dict[int, int] = {}

    def read(self, book: Book, wanted: Collection[int]) -> list[Work]:
        """Take up new experiments, read changed ones again, forget those that are gone; what was read."""
        going_on = experiments.going_on(book.db) if self._is_leader else {}
        read = list[Work]()
        for seq in {*wanted, *self, *going_on}:
            known = self.get(seq)
            if seq in going_on:
                revision, count = going_on[seq]
                if revision == (known.row.revision if known is not None else self._unusable.get(seq)):
                    continue
                book.db.ask_ahead(experiments.questions(seq, count=count))
            row = experiments.get(book.db, seq)
            if row is None:
                self.pop(seq, None)
            elif known is None or known.row.revision != row.revision:
                work = self.take_up(book, row, known)
                if work is not None:
                    read.append(work)
        return read

    def start_over(self) -> None:
        """The store has lost the last transaction: what was told in it is told again."""
        self._unusable.clear()

    def take_up(self, book: Book, row: ExperimentRow, known: Work | None = None) -> Work | None:
        """Read an experiment into memory; None where it cannot be worked on."""
        if self._unusable.get(row.seq) == row.revision:
            return None
        try:
            book.has_read(row.seq, row.events)
            work = Work(book.db, row, local=self._local(book.db, row), upto=self._upto)
        except StoreError:  # says nothing about the experiment
            raise
        except WlmctlError as error:
            if not self._is_leader:
                raise
            log.error("%s cannot be worked on: %s", row.id, error)
            self._unusable[row.seq] = row.revision
            self.pop(row.seq, None)
            book.of_number(row.seq).note("declined", f"it cannot be worked on: {error}")
            return None
        if known is not None:
            work.keep(known)
        self[row.seq] = work
        return work

    def _local(self, db: Database, row: ExperimentRow) -> str | None:
        bindings = experiments.bindings(db, row.seq) if row.local_on is not None else {}
        return self._routing.local_of(row, bindings)

    def find_locals(self, book: Book) -> None:
        """Bind ``local`` where it was left to a worker, a host or a label, as soon as there is one."""
        for work in self.values():
            if work.local is None and work.row.local_on is not None:
                member = self._routing.find_local(work.row.local_on)
                if member is not None:
                    where = f"{member.info.user}@{member.info.host}"
                    book.of(work).bind(LOCAL_ON, where)
                    work.bindings[LOCAL_ON] = where
                    work.local = self._routing.local_of(work.row, work.bindings)
