"""A store that loses transactions, for tests of what an orchestrator makes of that."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from wlmctl.errors import StoreOutage
from wlmctl.store.database import Question
from wlmctl.store.sqlite import SqliteDatabase


class LosingDatabase(SqliteDatabase):
    """A store whose server is lost at the commit of the next ``lose`` transactions, or in one at a statement that
    has the text ``lose_at``, once."""

    def __init__(self, url: str) -> None:
        self.lose = 0
        self.lose_at = ""
        self._is_lost = False
        super().__init__(url)
        self.told: list[str] = []
        self.patience = lambda outage: self.told.append(str(outage))

    @contextmanager
    def transaction(self, ahead: Sequence[Question] = ()) -> Iterator[None]:
        self._is_lost = False
        with super().transaction(ahead):
            yield
            if self.lose or self._is_lost:
                self.lose -= bool(self.lose)
                raise StoreOutage("store x: the connection was lost")

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query, unless the server is lost meanwhile."""
        self._asked(sql)
        return super().rows(sql, values)

    def row(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first row of a query, unless the server is lost meanwhile."""
        self._asked(sql)
        return super().row(sql, values)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement, unless the server is lost meanwhile."""
        self._asked(sql)
        return super().execute(sql, values)

    def _asked(self, sql: str) -> None:
        if self.lose_at and self.lose_at in sql:
            self._is_lost, self.lose_at = True, ""
            raise StoreOutage("store x: the connection was lost")
