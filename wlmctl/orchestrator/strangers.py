"""Jobs of processes that are gone: they take room on machines until they end, though nobody collects them yet.

The store still says that they are under way. This process asks for them only to know which room is free; their
states are left to whoever resumes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from wlmctl.machine import LOCAL
from wlmctl.message import Deferral, PollAnswerMessage, PollMessage, TaskKey
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.routing import Routing
from wlmctl.store import Database, leases

#: Seconds between two looks at them.
LOOK_S = 1.0


class Strangers:
    """Which jobs of abandoned experiments have ended, as far as this process has found out."""

    def __init__(self) -> None:
        self._look_at = 0.0
        self.ended: set[tuple[int, int, int]] = set()
        self._nonces: dict[TaskKey, str] = {}

    def look(self, book: Book, routing: Routing, own: Iterable[int], now: float) -> None:
        """Ask for the jobs of experiments that nobody works on; at most once a second, and only where there are any."""
        fleet = routing.fleet
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        owned = ",".join(str(int(seq)) for seq in (0, *own))
        query = (
            'SELECT exp, idx, attempt, dispatch, nonce, type, machine, handle, origin, host, "user", host_name'
            f" FROM tasks JOIN experiments ON seq = exp WHERE exp NOT IN ({owned}) AND "
        )
        rows = book.db.rows(f"{query}site IS NOT NULL AND cpus > 0")
        rows += book.db.rows(f"{query}counters IS NOT NULL AND site IS NULL")
        abandoned = {row[0] for row in rows if not _is_worked_on(book.db, row[0], row[8])}
        self.ended = {key for key in self.ended if key in {row[:3] for row in rows if row[0] in abandoned}}
        polls: dict[str, list[Deferral]] = {}
        self._nonces.clear()
        for exp, idx, attempt, dispatch, nonce, kind, machine, handle, _, *login in rows:
            place = fleet.local(*login) if machine == LOCAL else machine
            if exp not in abandoned or (exp, idx, attempt) in self.ended:
                continue
            if handle is None:
                self.ended.add((exp, idx, attempt))  # it was handed out, and whoever had it is gone
            elif place in fleet and machine not in fleet.held:
                deferral = Deferral(TaskKey(exp, idx, attempt, dispatch), kind, json.loads(handle), nonce=nonce or "")
                self._nonces[deferral.key] = deferral.nonce
                polls.setdefault(place, []).append(deferral)
        for place, deferrals in polls.items():
            worker = routing.asked(place)
            if worker is not None:
                book.send(routing.control(worker), PollMessage(fleet.machine(place), 0, 0.0, deferrals[:1000]))

    def answered(self, message: PollAnswerMessage, own: Iterable[int]) -> bool:
        """Note which of them have ended; True when room has become free."""
        mine = set(own)
        found = {
            (answer.key.exp, answer.key.idx, answer.key.attempt)
            for answer in message.answers
            if answer.key.exp not in mine
            and answer.outcome.what in ("done", "failed", "cancelled")
            and self._nonces.get(answer.key) == answer.nonce
        }
        self.ended |= found
        return bool(found)


def _is_worked_on(db: Database, exp: int, origin: str) -> bool:
    name = leases.ORCHESTRATOR if origin == "submit" else leases.experiment_lease(exp)
    return leases.is_live(db, name)
