"""Dispatches that workers hand back. One that was redelivered is a hint only: another worker may be busy with it.

A broker's restart redelivers what living workers still finish. So the worker that was last heard to have it decides,
by its next heartbeat or by its death.
"""

from __future__ import annotations

from collections.abc import Mapping

from wlmctl.message import ReturnedMessage, TaskKey
from wlmctl.orchestrator import ending
from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.poison import be_careful
from wlmctl.orchestrator.registry import Member, Registry
from wlmctl.orchestrator.results import current
from wlmctl.orchestrator.work import Work
from wlmctl.states import TaskState

#: Reasons of workers that have not begun with it, whatever else has happened.
BUSY, DRAINING = "busy", "draining"


class Returned:
    """What was handed back and is not decided yet."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        #: By dispatch: how often its holder had been heard then; it is decided by the next heartbeat.
        self.hints: dict[TaskKey, int] = {}
        self._unbegun: list[ReturnedMessage] = []

    def hear(self, message: ReturnedMessage, works: Mapping[int, Work]) -> Member | None:
        """Note it; the worker that is said to have it, whose life is to be looked into."""
        found = current(works, message.key, message.nonce)
        if found is None or found[1].handle is not None:
            return None
        if message.reason in (BUSY, DRAINING):
            self._unbegun.append(message)
            return None
        holder = self._registry.members.get(found[1].holder or "")
        self.hints.setdefault(message.key, holder.heard if holder is not None else 0)
        return holder

    def interrupted(self) -> None:
        """After a reconnect the holders are to be heard again first."""
        self.hints = dict.fromkeys(self.hints, 0)

    def is_open(self) -> bool:
        """True when there is something to decide."""
        return bool(self.hints or self._unbegun)

    def decide(self, book: Book, works: Mapping[int, Work], *, is_settled: bool) -> None:
        """Hand out again what nobody has. ``is_settled``: every known worker has been heard."""
        unbegun, self._unbegun = self._unbegun, []
        for message in unbegun:
            found = current(works, message.key, message.nonce)
            if found is not None and found[1].handle is None:
                give_back(book, *found, message.reason)
                if message.reason == BUSY:
                    found[0].mind(message.key.idx).is_single = True
        if not is_settled:
            return
        for key, heard in list(self.hints.items()):
            found = current(works, key, None)
            if found is None or found[1].dispatch != key.dispatch or not found[1].is_at_work:
                del self.hints[key]
                continue
            work, active = found
            holder = self._registry.members.get(active.holder or "")
            if holder is not None and holder.heard <= heard:
                continue
            del self.hints[key]
            if holder is None or key not in holder.listed:
                if holder is None:  # whoever had it died before it could say so
                    be_careful(book, work, active, "whoever had it is dead")
                work.send_again(active, "it was delivered twice, and no worker has it")


def give_back(book: Book, work: Work, active: Active, reason: str) -> None:
    """Nobody has begun with the dispatch: the task is ready again, and takes its turn by its priority."""
    if active.state is TaskState.ASSIGNED:
        ending.hand_back(book, work, active, f"handed back: {reason}")
    else:
        work.send_again(active, f"handed back: {reason}")
