"""The leases of an orchestrator: of the experiments of a ``run``, or of the lead."""

from __future__ import annotations

import logging
from collections.abc import Iterator, KeysView, Mapping

from wlmctl.errors import StoreError
from wlmctl.store import Database, leases
from wlmctl.store.database import Question
from wlmctl.store.leases import Lease

log = logging.getLogger(__name__)


class Leasing:
    """Checked in each transaction and renewed each second, all at once."""

    def __init__(self, db: Database, held: Mapping[int, Lease], leader: Lease | None) -> None:
        self._db, self._held, self.is_leader = db, dict(held), leader is not None
        self._all = [*self._held.values(), *([leader] if leader is not None else [])]

    @property
    def experiments(self) -> KeysView[int]:
        """The experiments whose leases these are."""
        return self._held.keys()

    def questions(self) -> Iterator[Question]:
        """What ``check`` asks."""
        return map(leases.question, self._all)

    def check(self) -> None:
        """Raise ``LeaseLost`` unless all are still ours; inside the transaction that writes."""
        for lease in self._all:
            leases.check(self._db, lease)

    def beat(self) -> None:
        """A sign of life for whoever watches the leases, and, within a long transaction, for the store."""
        for lease in self._all:
            leases.beat(self._db, lease)

    def give_back(self) -> None:
        """End them, if the store takes it; what has ended the work is told all the same."""
        try:
            with self._db.transaction():
                for lease in self._all:
                    leases.give_back(self._db, lease)
        except StoreError as lost:
            log.info("%s; the leases end by themselves", lost)
