"""What tasks of other experiments hold, as the store says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wlmctl.store import Database


class OfOthers:
    """Reads these columns of their tasks where the condition holds."""

    def __init__(self, columns: str, condition: str) -> None:
        self._select = f"SELECT {columns} FROM tasks WHERE {condition}"
        #: When there was nothing: the store's version, and what was own then.
        self._nothing: tuple[int, str] | None = None

    def rows(self, db: Database, my_experiments: Iterable[int]) -> list[Any]:
        """The rows. Where there were none, only another process can make some, or an experiment that is own no more."""
        own = ",".join(str(int(seq)) for seq in (0, *my_experiments))
        key = (db.data_version(), own)
        if key == self._nothing:
            return []
        rows = db.rows(f"{self._select} AND exp NOT IN ({own})")
        self._nothing = None if rows else key
        return rows
