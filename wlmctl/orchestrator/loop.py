"""The orchestrator's loop: gather what has happened, apply it in one transaction, send after the commit."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from wlmctl.broker.contract import Channel
from wlmctl.errors import StoreOutage
from wlmctl.message import (
    CleanedMessage,
    Message,
    PollAnswerMessage,
    ProbeAnswerMessage,
    ProbeMessage,
    ResultMessage,
    StartedMessage,
)
from wlmctl.orchestrator import ahead, cleaning, deferred, ending, ends, outage, releasing, results, shares, undelivered
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.dispatching import Dispatcher
from wlmctl.orchestrator.inbox import BATCH, Inbox
from wlmctl.orchestrator.leasing import Leasing
from wlmctl.orchestrator.progressing import Progressing
from wlmctl.orchestrator.routing import Routing
from wlmctl.orchestrator.sending import Letter, Sender, published_upto
from wlmctl.orchestrator.series import SeriesWatch
from wlmctl.orchestrator.taking_up import Works
from wlmctl.orchestrator.watch import Watch
from wlmctl.orchestrator.work import Work
from wlmctl.states import EXPERIMENT_FINAL, ExperimentState
from wlmctl.store import Database, experiments, host_keys, logs
from wlmctl.store.leases import Lease

log = logging.getLogger(__name__)

#: Seconds to wait for more answers while many tasks are under way, and how many are enough: a transaction costs as
#: much. In one process the worker's slots wait for this loop, in a fleet they have work ahead.
GATHER_S, ENOUGH = 0.002, 8
FLEET_GATHER_S = 0.01

#: Seconds between two renewals of the leases.
BEAT_S = 1.0


class Orchestrator:
    """Works on the experiments whose leases it holds, until ``stop`` is set. Owns the store's connection.

    ``watch`` looks after the workers of a fleet; None: there is one worker, in this process.
    """

    def __init__(
        self,
        db: Database,
        channel: Channel,
        *,
        routing: Routing,
        dispatcher: Dispatcher,
        held: Mapping[int, Lease],
        leader: Lease | None = None,
        watch: Watch | None = None,
        progressing: Progressing | None = None,
    ) -> None:
        self._db, self._routing, self._dispatcher, self._watch = db, routing, dispatcher, watch
        self._fleet, self._registry = routing.fleet, routing.registry
        self._leasing = Leasing(db, held, leader)
        self._upto = upto = published_upto(db) if watch is not None else None
        self._sender = Sender(channel, upto or 0)
        self._inbox = Inbox(
            channel,
            gather_s=GATHER_S if watch is None else FLEET_GATHER_S,
            enough=ENOUGH if watch is None else BATCH,
        )
        self.works = Works(routing, is_leader=leader is not None, upto=upto)
        self._numbers: Iterator[int] | None = None
        self._polls = deferred.Polls()
        self._series = SeriesWatch()
        self._progressing = progressing or (watch.progressing if watch is not None else Progressing())
        self._version = -1
        self._is_told = False
        #: By experiment: its event counter, as long as nobody else writes.
        self._counts: dict[int, int] = {}
        self._beat_at = self._wake_at = 0.0
        self._dirty = True
        self._unsent: list[Letter] = []
        self._undelivered: undelivered.Undelivered = []
        self._cleaning: cleaning.Cleaning = {}
        #: The same as it stood before the transaction.
        self._cleaning_before: cleaning.Cleaning = {}
        self._recall()

    def _recall(self) -> None:
        self._fleet.recall(self._db, time.monotonic())
        if self._watch is not None:
            self._watch.recall(self._db, time.time())

    def run(self, stop: threading.Event, done: Callable[[], bool] = lambda: False) -> None:
        """Work until ``stop`` is set or ``done`` says so; gives the leases back. Waits while the store is away."""
        try:
            with self._db.listening(self._told):
                while not stop.is_set() and not done():
                    try:
                        self.step()
                    except StoreOutage as lost:
                        self._start_over(lost)
        finally:
            if self._watch is not None:
                self._watch.close()
            self._leasing.give_back()

    def _told(self) -> None:
        """Others have written; from any thread."""
        self._is_told = True
        self._inbox.wake()

    def _start_over(self, lost: StoreOutage) -> None:
        """The store has lost the last transaction: wait until it answers, and read everything again."""
        if self._db.patience is None:
            raise lost
        self._db.patience(lost)
        outage.take_back(self.works, self._unsent, self._fleet)
        cleaning.take_back(self._cleaning, self._cleaning_before, self._registry.members)
        self.works.start_over()
        self._dispatcher.start_over()
        self._unsent, self._polls = [], deferred.Polls()
        self._version, self._dirty = -1, True
        self._counts.clear()
        if self._watch is not None:
            self._watch.start_over()
        self._recall()

    def step(self) -> None:
        """One look: what has arrived is applied and what follows from it is sent; waits a moment for something."""
        under_way = sum(work.under_way for work in self.works.values()) - self._polls.count
        self._inbox.fill(0.0 if self._dirty else self._db.look_s, under_way)
        self._turn()

    def is_finished(self) -> bool:
        """True when every experiment it holds is final and cleaned, or forgotten."""
        return self._version != -1 and not (self._leasing.experiments & self.works.keys()) - self._ended()

    def _ended(self) -> set[int]:
        return {seq for seq, work in self.works.items() if work.state in EXPERIMENT_FINAL and seq not in self._cleaning}

    def _turn(self) -> None:
        now = self._routing.now = time.monotonic()
        self._look(now)
        is_told, self._is_told = self._is_told, False
        if not (is_told or self._inbox.messages or self._dirty or now >= min(self._beat_at, self._wake_at)):
            if self._db.data_version() == self._version:
                return
            is_told = True
        book = Book(self._db, time.time(), self._numbers, self._counts)
        self._unsent = book.outbox
        self._cleaning_before = {seq: dict(asked) for seq, asked in self._cleaning.items()}
        others = ahead.of_others(book.now_s, is_leader=self._leasing.is_leader) if is_told else ()
        with self._db.transaction(ahead=[*self._leasing.questions(), *others]):
            version = self._db.data_version()  # here: others may have written while this one waited for the lock
            self._leasing.check()
            if now >= self._beat_at:
                self._leasing.beat()
                self._beat_at = now + BEAT_S
            if version != self._version:
                self._version = version
                self._counts.clear()
                self._read_again(book)
            self._apply(book, now)
            self._advance(book, now)
            self._registry.write(self._db, book.now_s, now, self._under_way)
            if self._watch is not None:
                self._sender.write(self._db)
            shares.write(book)
            book.flush()
            # point 1: all is written, not committed
        # point 2: committed, nothing acked
        self._registry.committed()
        self._sender.committed()
        self._inbox.settle()
        self._undelivered, self._unsent = [], []
        # point 3: acked, nothing sent
        self._sender.post(book.outbox)
        # point 4: sent, not confirmed

    def _look(self, now: float) -> None:
        """What needs no transaction: what workers say of themselves while nothing follows from it."""
        self._undelivered += undelivered.confirmed(self.works, self._sender.answers(), self._watch)
        self._dirty |= bool(self._undelivered)
        if self._watch is None:
            return
        if self._inbox.is_reconnected():
            self._watch.reconnected()
            self._watch.renew(self.works)
        if self._inbox.is_quiet() and self._inbox.messages:
            for message in self._inbox.messages:
                self._dirty |= self._watch.hear(message, self.works, now)
            self._inbox.settle()
        self._dirty |= self._watch.look(self.works, now, lambda letter: self._sender.post([letter]))

    def _under_way(self) -> dict[str, int]:
        return self._watch.under_way(self.works) if self._watch is not None else {}

    def _read_again(self, book: Book) -> None:
        """Another process has written: take up new experiments, read changed ones again."""
        self._polls.follow(logs.followed(self._db, book.now_s))
        self._fleet.read(self._db, time.monotonic())
        if self._leasing.is_leader:
            self._series.read(self._db)
            self._fleet.trust(host_keys.get(self._db))
        read = self.works.read(book, {*self._leasing.experiments, *self._cleaning})
        cleaning.drop(self._cleaning, self.works)
        if self._watch is not None:
            self._watch.read(self._db)
            for work in read:
                self._watch.take_up(work)
            if self._numbers is None:
                sent = (active.number for work in self.works.values() for active in work.active.values())
                self._numbers = itertools.count(max([self._upto or 0, *sent]) + 1)
                book.give_numbers(self._numbers)
        self._dirty = True

    def _apply(self, book: Book, now: float) -> None:
        undelivered.apply(book, self.works, self._routing, self._undelivered, self._worker_lost)
        for message in self._inbox.messages:
            self._apply_one(book, message, now)

    def _apply_one(self, book: Book, message: Message, now: float) -> None:
        match message:
            case ResultMessage():
                results.result(book, self.works, self._routing, message, now, self._dispatcher.window)
            case StartedMessage():
                results.started(book, self.works, message)
            case PollAnswerMessage():
                self._dispatcher.strangers.answered(message, self.works)
                newest = self._polls.answered(message, now)
                results.answers(book, self.works, self._fleet, message, newest, now)
            case ProbeAnswerMessage():
                results.probed(book, self.works, self._routing, message, now)
            case CleanedMessage():
                cleaning.answered(book, self.works.get(message.exp), self._cleaning, message)
            case _ if self._watch is not None:
                self._watch.hear(message, self.works, now)

    def _worker_lost(self, worker: str) -> None:
        """A worker is no more: what it was asked is asked of others."""
        self._polls.lost(worker)
        ends.lost(self.works, worker)
        cleaning.lost(self._cleaning, worker)
        self._fleet.lost(worker)

    def _advance(self, book: Book, now: float) -> None:
        """Everything that follows from the state: releases, ends, dispatches, polls, probes."""
        again, book.while_waiting = False, self._leasing.beat
        results.let_go(book, self.works, self._fleet)
        for row in [experiments.get(self._db, seq) for seq in self._series.release(book)]:
            assert row is not None, "it was written a moment ago, in this transaction"
            self.works.take_up(book, row)
        if self._watch is not None:
            self._watch.advance(book, self.works, now, self._worker_lost)
            self.works.find_locals(book)
        for work in list(self.works.values()):
            if work.state in EXPERIMENT_FINAL:
                continue
            releasing.start(book, work)
            releasing.skip_ready(book, work)
            releasing.release(book, work)
            if ending.finish(book, work):
                cleaning.begin(book, work, self._routing, self._cleaning)
                again |= self._series.look_again()
        live = {seq: work for seq, work in self.works.items() if work.state not in EXPERIMENT_FINAL}
        self._dispatcher.send_again(book, live, now)
        more, unknown = self._dispatcher.dispatch(book, live, now)
        results.tell_held(book, live.values(), self._fleet)
        self._progressing.advance(book, self.works, now)
        self._dispatcher.strangers.look(book, self._routing, self.works, now)
        self._polls.ask(book, live, self._routing, now)
        cleaning.order(book, self.works, self._routing, self._cleaning)
        end_due = ends.order(book, live, self._routing, now)
        for place, worker in self._fleet.to_probe(sorted(unknown), now, self._routing.asked):
            book.send(self._routing.control(worker), ProbeMessage(self._fleet.machine(place)))
        for seq in self._ended() if self._leasing.is_leader else ():  # a daemon must not grow by what has ended
            del self.works[seq]
        self._dirty = again or more or any(map(releasing.has_more, live.values()))
        self._wake_at = self._next_due(live, end_due, book.now_s, now)

    def _next_due(self, live: Mapping[int, Work], end_due: float | None, now_s: float, now: float) -> float:
        """When something is to be done even if nothing happens, on the monotonic clock."""
        due = [work.due[0][0] for work in live.values() if work.due and work.state is ExperimentState.RUNNING]
        starts = [work.row.start_due for work in live.values() if work.state is ExperimentState.SCHEDULED]
        due += [each for each in (*starts, self._series.next_s, self._fleet.next_end_s()) if each is not None]
        moments = [
            end_due, self._polls.next_s, self._fleet.next_probe(), self._routing.avoids(), self._dispatcher.gate.next_s,
            self._watch.next_s if self._watch is not None else None,
        ]  # fmt: skip
        if due:
            moments.append(now + max(0.0, min(due) - now_s))
        return min((moment for moment in moments if moment), default=now + 3600)
