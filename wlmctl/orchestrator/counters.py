"""Named counters that all machines share, such as licences: what is left of each, over all processes of the store."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping

from wlmctl.orchestrator.active import Active
from wlmctl.store import Database


def from_text(text: str | None) -> tuple[tuple[str, int], ...]:
    """What a task's row says that it takes."""
    return tuple(json.loads(text).items()) if text else ()


class Counters:
    """What the configuration says that there is of each, less what is taken."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self.limits = limits
        #: What tasks of other experiments take, as of which state of the store.
        self._others: tuple[object, list[tuple[tuple[int, int, int], tuple[tuple[str, int], ...]]]] = (None, [])

    def left(
        self,
        db: Database,
        mine: Iterable[Active],
        my_experiments: Iterable[int],
        ended: Collection[tuple[int, int, int]] = (),
    ) -> dict[str, int]:
        """What is left of each: less the given tasks, and those of other experiments that are not in ``ended``."""
        if not self.limits:
            return {}
        left = dict(self.limits)
        taken = [active.counters for active in mine if active.counters]
        taken += [counters for key, counters in self._of_others(db, my_experiments) if key not in ended]
        for counters in taken:
            for name, amount in counters:
                if name in left:
                    left[name] -= amount
        return {name: max(0, amount) for name, amount in left.items()}

    def _of_others(
        self, db: Database, my_experiments: Iterable[int]
    ) -> list[tuple[tuple[int, int, int], tuple[tuple[str, int], ...]]]:
        """By task and attempt; read again when another process has written, or an experiment is mine no longer."""
        own = ",".join(str(int(seq)) for seq in (0, *my_experiments))
        state = db.data_version(), own
        if self._others[0] != state:
            rows = db.rows(
                f"SELECT exp, idx, attempt, counters FROM tasks WHERE counters IS NOT NULL AND exp NOT IN ({own})"
            )
            self._others = state, [((exp, idx, attempt), from_text(text)) for exp, idx, attempt, text in rows]
        return self._others[1]
