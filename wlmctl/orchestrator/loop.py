"""The orchestrator's loop: gather what has happened, apply it in one transaction, send after the commit."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from wlmctl.broker.contract import Channel
from wlmctl.errors import StoreOutage, WlmctlError
from wlmctl.message import (
    CleanedMessage,
    Message,
    PollAnswerMessage,
    ProbeAnswerMessage,
    ProbeMessage,
    ResultMessage,
    StartedMessage,
    TaskMessage,
    UndecodableMessage,
    decode,
    encode,
)
from wlmctl.orchestrator import cleaning, deferred, ending, outage, releasing, results
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.dispatching import Dispatcher
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.series import SeriesWatch
from wlmctl.orchestrator.work import Work
from wlmctl.queues import DEAD, control_queue, work_queue
from wlmctl.states import EXPERIMENT_FINAL, ExperimentState
from wlmctl.store import Database, experiments, leases, logs
from wlmctl.store.leases import Lease
from wlmctl.store.rows import ExperimentRow

log = logging.getLogger(__name__)

#: Seconds between two looks at whether another process has written to the store.
LOOK_S = 0.02

#: Seconds to wait for more once something has come while several tasks are under way, unless so many messages have
#: come: a transaction costs as much.
GATHER_S, GATHERED = 0.002, 8

#: Seconds between two renewals of the leases.
BEAT_S = 1.0

#: Results applied in one transaction at the most.
BATCH = 500


class Orchestrator:
    """Works on the experiments whose leases it holds, until ``stop`` is set. Owns the store's connection."""

    def __init__(
        self,
        db: Database,
        channel: Channel,
        *,
        fleet: Fleet,
        dispatcher: Dispatcher,
        worker: str,
        prefix: str,
        held: Mapping[int, Lease],
        leader: Lease | None = None,
    ) -> None:
        self._db, self._channel, self._fleet, self._dispatcher = db, channel, fleet, dispatcher
        self._work_queue, self._control = work_queue(prefix), control_queue(prefix, worker)
        self._dead = DEAD.format(prefix=prefix)
        self._leases = dict(held)
        self._leader = leader
        self.works: dict[int, Work] = {}
        self._polls = deferred.Polls()
        self._series = SeriesWatch()
        self._version = -1
        self._beat_at = 0.0
        self._dirty = True
        self._inbox: list[Message] = []
        self._unsent: list[Message] = []
        self._cleaning: cleaning.Cleaning = {}
        self._wake_at = 0.0
        self._unusable: dict[int, int] = {}
        fleet.recall(db, time.monotonic())

    def run(self, stop: threading.Event, done: Callable[[], bool] = lambda: False) -> None:
        """Work until ``stop`` is set or ``done`` says so; gives the leases back. Waits while the store is away."""
        try:
            while not stop.is_set() and not done():
                try:
                    self.step()
                except StoreOutage as lost:
                    self._start_over(lost)
        finally:
            self._give_back()

    def _give_back(self) -> None:
        try:
            with self._db.transaction():
                for lease in self._all_leases():
                    leases.give_back(self._db, lease)
        except StoreOutage as lost:
            log.info("%s; the leases end by themselves", lost)

    def _start_over(self, lost: StoreOutage) -> None:
        """The store has lost the last transaction: wait until it answers, and read everything again."""
        if self._db.patience is None:
            raise lost
        self._db.patience(lost)
        outage.take_back(self.works, self._inbox, self._unsent, self._cleaning, self._fleet)
        self._polls = deferred.Polls()
        self._version, self._dirty = -1, True
        self._fleet.recall(self._db, time.monotonic())

    def step(self) -> None:
        """One look: what has arrived is applied and what follows from it is sent; waits a moment for something."""
        self._receive()
        self._turn()

    def is_finished(self) -> bool:
        """True when every experiment it holds is final and cleaned."""
        return not self._leases.keys() - self._ended()

    def _ended(self) -> set[int]:
        return {seq for seq, work in self.works.items() if work.state in EXPERIMENT_FINAL and seq not in self._cleaning}

    def _all_leases(self) -> Iterable[Lease]:
        return [*self._leases.values(), *([self._leader] if self._leader is not None else [])]

    def _receive(self) -> None:
        """Everything that has arrived; waits a moment when there is nothing to do, and for what comes together."""
        wait_s = 0.0 if self._dirty else LOOK_S
        gather_s = GATHER_S if sum(work.under_way for work in self.works.values()) > 1 else 0.0
        until_s: float | None = None
        while len(self._inbox) < BATCH:
            delivery = self._channel.receive(wait_s)
            if delivery is None:
                return
            try:
                self._inbox.append(decode(delivery.body))
            except UndecodableMessage as error:
                log.error("a message of %s goes to the dead letters: %s", delivery.queue, error)
                self._channel.publish(self._dead, delivery.body)
            self._channel.ack(delivery)
            now = time.monotonic()
            until_s = now + gather_s if until_s is None else until_s
            wait_s = max(0.0, until_s - now) if len(self._inbox) < GATHERED else 0.0

    def _turn(self) -> None:
        now = time.monotonic()
        is_changed = self._db.data_version() != self._version
        if not (self._inbox or self._dirty or is_changed or now >= min(self._beat_at, self._wake_at)):
            return
        book = Book(self._db, time.time())
        self._unsent = book.outbox
        with self._db.transaction():
            version = self._db.data_version()  # here: others may have written while this one waited for the lock
            for lease in self._all_leases():
                leases.check(self._db, lease)
            if now >= self._beat_at:
                for lease in self._all_leases():
                    leases.beat(self._db, lease)
                self._beat_at = now + BEAT_S
            if version != self._version:
                self._version = version
                self._read_again(book)
            self._apply(book, now)
            self._advance(book, now)
            book.flush()
        self._inbox.clear()
        for message in book.outbox:
            queue = self._work_queue if isinstance(message, TaskMessage) else self._control
            self._channel.publish(queue, encode(message), priority=self._priority(message))

    def _priority(self, message: Message) -> int:
        work = self.works.get(message.key.exp) if isinstance(message, TaskMessage) else None
        return work.row.priority if work is not None else 0

    def _read_again(self, book: Book) -> None:
        """Another process has written: take up new experiments, read changed ones again."""
        self._polls.follow(logs.followed(self._db, book.now_s))
        wanted = {*self._leases, *self._cleaning}
        if self._leader is not None:
            self._series.read(self._db)
            wanted.update(
                row[0] for row in self._db.rows("SELECT seq FROM experiments WHERE ended IS NULL AND origin = 'submit'")
            )
        for seq in wanted | self.works.keys():
            known = self.works.get(seq)
            row = experiments.get(self._db, seq)
            if row is None:
                self.works.pop(seq, None)
            elif known is None or known.row.revision != row.revision:
                self._take_up(book, row, known)
        self._dirty = True

    def _take_up(self, book: Book, row: ExperimentRow, known: Work | None) -> None:
        """Read an experiment into memory; one that cannot be worked on must not keep a daemon from the others."""
        if self._unusable.get(row.seq) == row.revision:
            return
        try:
            work = Work(self._db, row)
        except WlmctlError as error:
            if self._leader is None:
                raise
            log.error("%s cannot be worked on: %s", row.id, error)
            self._unusable[row.seq] = row.revision
            self.works.pop(row.seq, None)
            book.of_number(row.seq).note("declined", f"it cannot be worked on: {error}")
            return
        if known is not None:
            work.keep(known)
        self.works[row.seq] = work

    def _apply(self, book: Book, now: float) -> None:
        for message in self._inbox:
            match message:
                case ResultMessage():
                    results.result(book, self.works, self._fleet, message, now)
                case StartedMessage():
                    results.started(book, self.works, message)
                case PollAnswerMessage():
                    self._dispatcher.strangers.answered(message, self.works)
                    newest = self._polls.answered(message, now)
                    results.answers(book, self.works, self._fleet, message, newest, now)
                case ProbeAnswerMessage() if message.reason:
                    self._fleet.hold(book.db, message.machine, message.reason, now, book.now_s, probed=True)
                case ProbeAnswerMessage():
                    self._fleet.answered(message)
                    results.release(book, self.works, self._fleet, message.machine)
                case CleanedMessage():
                    cleaning.answered(book, self.works.get(message.exp), self._cleaning, message)

    def _advance(self, book: Book, now: float) -> None:
        """Everything that follows from the state: releases, ends, dispatches, polls, probes."""
        again = False
        for row in [experiments.get(self._db, seq) for seq in self._series.release(book)]:
            assert row is not None, "it was written a moment ago, in this transaction"
            self._take_up(book, row, None)
        for work in list(self.works.values()):
            if work.state in EXPERIMENT_FINAL:
                continue
            releasing.start(book, work)
            releasing.skip_ready(book, work)
            releasing.release(book, work)
            if ending.finish(book, work):
                cleaning.begin(book, work, self._fleet, self._cleaning)
                again |= self._series.look_again()
        live = {seq: work for seq, work in self.works.items() if work.state not in EXPERIMENT_FINAL}
        self._dispatcher.send_again(book, live, now)
        more, unknown = self._dispatcher.dispatch(book, live)
        results.tell_held(book, live.values(), self._fleet)
        self._dispatcher.strangers.look(book, self._fleet, self.works, now)
        self._polls.ask(book, live, self._fleet, now)
        end_due = deferred.order_ends(book, live, self._fleet, now)
        for name in self._fleet.to_probe(sorted(unknown), now):
            book.send(ProbeMessage(self._fleet.machine(name)))
        if self._leader is not None:  # a daemon must not grow by what has ended
            for seq in self._ended():
                del self.works[seq]
        self._dirty = again or more or any(map(releasing.has_more, live.values()))
        self._wake_at = min(
            (
                due
                for due in (
                    end_due,
                    self._polls.next_s,
                    self._fleet.next_probe(),
                    self._next_due(live, book.now_s, now),
                )
                if due
            ),
            default=now + 3600,
        )

    def _next_due(self, live: Mapping[int, Work], now_s: float, now: float) -> float | None:
        due = [work.due[0][0] for work in live.values() if work.due and work.state is ExperimentState.RUNNING]
        starts = [work.row.start_due for work in live.values() if work.state is ExperimentState.SCHEDULED]
        due += [each for each in (*starts, self._series.next_s) if each is not None]
        return now + max(0.0, min(due) - now_s) if due else None
