"""The watch over the workers of a fleet: what they say of themselves, and what follows from their silence."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wlmctl.broker.contract import Broker, Channel
from wlmctl.message import (
    AskMessage,
    ClosedMessage,
    DrainMessage,
    GoodbyeMessage,
    HeartbeatMessage,
    HeldMessage,
    MarkMessage,
    Message,
    PermitsBackMessage,
    ReturnedMessage,
)
from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.closing import Closures
from wlmctl.orchestrator.deaths import SILENT_S, Deaths
from wlmctl.orchestrator.errands import Errands
from wlmctl.orchestrator.listening import Listening
from wlmctl.orchestrator.lost import LostRule
from wlmctl.orchestrator.permitting import Permitting
from wlmctl.orchestrator.poison import Poison
from wlmctl.orchestrator.progressing import Progressing
from wlmctl.orchestrator.registry import Member
from wlmctl.orchestrator.results import current
from wlmctl.orchestrator.returned import Returned
from wlmctl.orchestrator.routing import Routing
from wlmctl.orchestrator.sending import Letter
from wlmctl.orchestrator.work import Work
from wlmctl.queues import RESULTS, type_queue
from wlmctl.store import Database, workers
from wlmctl.store.workers import DEAD, GONE

log = logging.getLogger(__name__)

#: Seconds in which a leader must have deleted the queues of a worker that has ended.
LATELY_S = 600.0

#: Seconds in which a new leader wants to hear each worker before it judges anything.
FIRST_S = 3.0

Works = Mapping[int, Work]

#: Is told of each worker that is no more, inside the transaction: what it was asked is asked of others.
Lost = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """Times of the protocol. ``epoch`` is that of the leadership."""

    prefix: str = "wlm"
    lease_s: float = 30.0
    permit_grace_s: float = 30.0
    epoch: int = 0


class Watch:
    """Hears the workers' messages at once, and draws the consequences inside the next transaction."""

    def __init__(
        self, routing: Routing, broker: Broker, channel: Channel, settings: WatchSettings, *, has_thread: bool = True
    ) -> None:
        self._registry, self._routing, self._settings = routing.registry, routing, settings
        self._broker = broker
        self._results = RESULTS.format(prefix=settings.prefix)
        self._errands = Errands(broker, channel, has_thread=has_thread)
        self._listening = Listening()
        self._lost = LostRule(self._registry, self._errands, settings.prefix, settings.epoch)
        self._deaths = Deaths(self._registry, self._errands, settings.prefix)
        self._returned = Returned(self._registry)
        self._poison = Poison()
        self._permitting = Permitting(self._registry, routing, settings.permit_grace_s)
        self.progressing = Progressing()
        self._closures = Closures(broker, self._registry)
        self._goodbyes: dict[str, str] = {}
        self._to_drain: set[str] = set()
        self._types: set[str] = set()
        self._newcomers: list[Member] = []
        self._settled_s = FIRST_S
        self._leases_s = 0.0

    @property
    def now_s(self) -> float:
        """The listening clock."""
        return self._listening.now_s

    @property
    def next_s(self) -> float | None:
        """When something is to be written, at the latest, on the monotonic clock."""
        return self._permitting.next_s

    def reconnected(self) -> None:
        """The leader's connection was lost and is back: nobody is judged by what was not heard."""
        self._listening.interrupted()
        self._registry.reconnected(self.now_s)
        self._deaths.reconnected(self.now_s)
        self._lost.interrupted()
        self._returned.interrupted()
        self._settled_s = self.now_s + SILENT_S

    def renew(self, works: Works) -> None:
        """Every lease, and every dispatch, has a new term (after a reconnect)."""
        for work in works.values():
            for active in work.active.values():
                if active.seen_s is not None:
                    active.seen_s = self.now_s
                if active.leased_until_s is not None:
                    active.leased_until_s = self.now_s + self._settings.lease_s

    def take_up(self, work: Work) -> None:
        """An experiment was read: what an earlier leader had sent is under way from now on."""
        for active in work.active.values():
            if active.is_at_work and active.number and active.seen_s is None and active.idx not in work.unconfirmed:
                active.seen_s = self.now_s

    def hear(self, message: Message, works: Works, now: float) -> bool:
        """A message of a worker, or the leader's own pulse; True when something is to be written because of it."""
        match message:
            case MarkMessage():
                self._listening.heard(message.number, now)
                return False
            case HeartbeatMessage():
                return self._heartbeat(message, works)
            case HeldMessage():
                found = current(works, message.key, message.nonce)
                if found is not None and found[1].is_at_work:
                    self._has(found[1], message.worker, is_begun=True)
                    found[1].leased_until_s = self.now_s + self._settings.lease_s
                return False
            case ReturnedMessage():
                holder = self._returned.hear(message, works)
                if holder is not None and holder.heard:
                    self._deaths.look_into(holder, self.now_s)
            case GoodbyeMessage():
                self._goodbyes[message.worker] = message.reason
            case AskMessage():
                self._permitting.asked(message, now)
            case PermitsBackMessage():
                self._permitting.returned(message)
            case ClosedMessage():
                self._closures.hear(message)
        return True

    def _heartbeat(self, beat: HeartbeatMessage, works: Works) -> bool:
        is_new = beat.worker not in self._registry.members
        member = self._registry.heard(beat, self.now_s)
        if member is None:
            return False
        if is_new:
            self._newcomers.append(member)
        for name in [name for name in member.info.types if name not in self._types]:
            self._types.add(name)  # workers may only read what is shared
            self._errands.make(type_queue(self._settings.prefix, name))
        for key in member.listed:
            found = current(works, key, None)
            if found is not None and found[1].dispatch == key.dispatch and found[1].is_at_work:
                self._has(found[1], member.id, is_begun=key in member.begun)
                self._lost.delivered(found[1], found[0].row.priority)
        for key in beat.leased:
            found = current(works, key, None)
            if found is not None and found[1].dispatch == key.dispatch and found[1].is_at_work:
                found[1].leased_until_s = self.now_s + self._settings.lease_s
        self._lost.heard(member)
        self._permitting.listed(member, beat.permits)
        self.progressing.hear(beat.progress)
        return self._registry.is_changed() or self._returned.is_open()

    def _has(self, active: Active, worker: str, *, is_begun: bool) -> None:
        """A worker says that it has the dispatch."""
        active.is_begun = is_begun or (active.is_begun and active.holder == worker)
        active.holder, active.seen_s = worker, self.now_s

    def look(self, works: Works, now: float, send: Callable[[Letter], None]) -> bool:
        """What needs no transaction: pulses, questions, answers. True when something is to be written."""
        number = self._listening.pulse(now) if self._broker.state.is_up else None
        if number is not None:
            send(Letter(self._results, MarkMessage(number), transient=True))
            self._deaths.look(self.now_s)
        self._errands.hear()
        lost = self._lost.look(works, self.now_s, self._returned.hints, send)
        for work, active in lost:
            work.send_again(active, "the broker has lost it")
        is_open = self._deaths.is_open() or self._closures.is_open()
        return bool(lost) or is_open or self._has_run_out(works) or self._is_judging()

    def _is_judging(self) -> bool:
        return bool(self._returned.hints) and self._is_settled()

    def _has_run_out(self, works: Works) -> bool:
        if self.now_s == self._leases_s:
            return False
        self._leases_s = self.now_s
        return any(
            active.leased_until_s is not None and self.now_s > active.leased_until_s
            for work in works.values()
            for active in work.active.values()
        )

    def _is_settled(self) -> bool:
        """True when every known worker was heard on this connection, or has had its time."""
        return self.now_s >= self._settled_s or all(member.heard for member in self._registry.members.values())

    def advance(self, book: Book, works: Works, now: float, lost: Lost) -> None:
        """What follows for the tasks; inside the transaction."""
        newcomers, self._newcomers = self._newcomers, []
        for member in newcomers:
            self._poison.is_alive_after_all(book, member, works)
        for member, reason in self._deaths.take():
            self._ends(book, works, member, DEAD, reason, lost)
        goodbyes, self._goodbyes = self._goodbyes, {}
        for worker, reason in goodbyes.items():
            gone = self._registry.members.get(worker)
            if gone is not None:
                self._ends(book, works, gone, GONE, reason, lost)
        for work in works.values():
            for active in work.active.values():
                if active.leased_until_s is not None and self.now_s > active.leased_until_s:
                    if active.is_at_work:
                        work.send_again(active, "its lease has run out")
                    active.leased_until_s = None
        self._returned.decide(book, works, is_settled=self._is_settled())
        self._drain(book)
        self._permitting.advance(book, now)
        self._closures.write(book.db, book.now_s)

    def _ends(self, book: Book, works: Works, member: Member, state: str, reason: str, lost: Lost) -> None:
        """A worker is no more: what it had is handed out again."""
        queue = self._routing.own_queue(member.id)
        had = [
            (work, active)
            for work in works.values()
            for active in work.active.values()
            if active.is_at_work and (active.holder == member.id or (active.holder is None and active.queue == queue))
        ]
        if state == DEAD:
            log.warning("worker %s is dead: %s; dispatches to hand out again: %d", member.id, reason, len(had))
            self._poison.died(book, member, had)
        for work, active in had:
            if active.idx in work.active and active.is_at_work:
                work.send_again(active, f"worker {member.info.name} is {state}: {reason or 'it has ended'}")
        self._registry.leave(member, state, reason, self.now_s)
        self._lost.interrupted()
        lost(member.id)
        self._deaths.bury(member.id)

    def recall(self, db: Database, now_s: float) -> None:
        """The workers by the store; the queues of those that ended under an earlier leader may still be there."""
        self._registry.recall(db)
        for worker in workers.ended_since(db, now_s - LATELY_S):
            self._deaths.bury(worker)

    def read(self, db: Database) -> None:
        """Another process has written: who is asked to drain?"""
        self._to_drain = workers.to_drain(db)

    def _drain(self, book: Book) -> None:
        for worker in self._to_drain:
            member = self._registry.members.get(worker)
            if member is not None and not member.told_to_drain:
                member.told_to_drain = True
                book.send(self._routing.control(worker), DrainMessage())

    def start_over(self) -> None:
        """The store has lost the last transaction."""
        self._registry.all_unwritten()
        self._lost.interrupted()
        self._permitting.start_over()
        for member in self._registry.members.values():
            member.told_to_drain = False

    def under_way(self, works: Works) -> dict[str, int]:
        """How many dispatches each worker has."""
        counts: dict[str, int] = {}
        for work in works.values():
            for active in work.active.values():
                if active.holder is not None and active.is_at_work:
                    counts[active.holder] = counts.get(active.holder, 0) + 1
        return counts

    def close(self) -> None:
        """Ask nothing more."""
        self._errands.close()
