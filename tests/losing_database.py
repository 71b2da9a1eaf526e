"""A store that loses transactions, for tests of what an orchestrator makes of that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from wlmctl.errors import StoreOutage
from wlmctl.store.database import Question
from wlmctl.store.sqlite import SqliteDatabase


class LosingDatabase(SqliteDatabase):
    """A store whose server is lost at the commit of the next ``lose`` transactions."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.lose = 0
        self.told: list[str] = []
        self.patience = lambda outage: self.told.append(str(outage))

    @contextmanager
    def transaction(self, ahead: Sequence[Question] = ()) -> Iterator[None]:
        with super().transaction(ahead):
            yield
            if self.lose:
                self.lose -= 1
                raise StoreOutage("store x: the connection was lost")
