"""Named counters that all machines share, such as licences: what is left of each, over all processes of the store."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping

from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.others import OfOthers
from wlmctl.store import Database


def from_text(text: str | None) -> tuple[tuple[str, int], ...]:
    """What a task's row says that it takes."""
    return tuple(json.loads(text).items()) if text else ()


class Counters:
    """What the configuration says that there is of each, less what is taken."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self.limits = limits
        self._others = OfOthers("exp, idx, attempt, counters", "counters IS NOT NULL")

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
        others = self._others.rows(db, my_experiments)
        taken += [from_text(text) for *key, text in others if tuple(key) not in ended]
        for counters in taken:
            for name, amount in counters:
                if name in left:
                    left[name] -= amount
        return {name: max(0, amount) for name, amount in left.items()}
