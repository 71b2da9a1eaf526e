"""An orchestrator whose world is played by the test: clock, workers, machines, other processes, crashes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.play import DEFERRED, DONE, Clock, machine, task_type, worker_info
from tests.told import assert_told_in_full
from wlmctl.broker.contract import Delivery
from wlmctl.broker.memory import MemoryBroker
from wlmctl.broker.memory_channel import MemoryChannel
from wlmctl.experiment import read
from wlmctl.machine import Machine
from wlmctl.message import (
    Answer,
    EndMessage,
    Message,
    Outcome,
    PollAnswerMessage,
    PollMessage,
    ResultMessage,
    StartedMessage,
    TaskKey,
    TaskMessage,
    decode,
    encode,
)
from wlmctl.orchestrator.counters import Counters
from wlmctl.orchestrator.dispatching import Dispatcher
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.loop import Orchestrator
from wlmctl.orchestrator.registry import Member, Registry
from wlmctl.orchestrator.routing import Routing
from wlmctl.plugins import scheduler_factory
from wlmctl.queues import DEAD, RESULTS, control_queue, worker_queue
from wlmctl.runtime.submit import submit_all
from wlmctl.scheduler import Scheduler
from wlmctl.store import Database, experiments, leases, open_database
from wlmctl.store.events import events
from wlmctl.store.rows import ExperimentRow, TaskRow

__all__ = ["Orchestra", "assert_told_in_full"]

PREFIX, WORKER = "wlm", "local"


class Impatient:
    """A channel that never waits: the play goes on by itself."""

    def __init__(self, channel: MemoryChannel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def receive_many(self, limit: int, timeout_s: float | None) -> list[Delivery]:
        return self._channel.receive_many(limit, 0)


@dataclass
class Orchestra:
    """One store, and at any time one orchestrator with its broker. ``others`` is a second process's connection."""

    folder: Path
    machines: Mapping[str, Machine] = field(default_factory=lambda: {"local": machine("local", cpus=4)})
    logins: Mapping[str, str] = field(default_factory=dict)
    scheduler: Scheduler | None = None
    slots: int = 4
    counters: Mapping[str, int] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    database: Callable[[str], Database] = open_database

    def __post_init__(self) -> None:
        self.url = f"sqlite:///{self.folder / 'play.db'}"
        self.others = open_database(self.url)
        self.db = self.database(self.url)
        self._count = 0
        self.lead()

    def close(self) -> None:
        self.db.close()
        self.others.close()

    def lead(self) -> None:
        """A new orchestrator takes the lead; whatever the one before had in memory or in its broker is gone."""
        self.broker = MemoryBroker()
        channel = self.broker.channel()
        for queue in (DEAD.format(prefix=PREFIX), worker_queue(PREFIX, WORKER), control_queue(PREFIX, WORKER)):
            channel.declare(queue)
        channel.consume(RESULTS.format(prefix=PREFIX), 1_000_000)
        self._workers = self.broker.channel()
        self._workers.consume(worker_queue(PREFIX, WORKER), 1_000_000)
        self._workers.consume(control_queue(PREFIX, WORKER), 1_000_000)
        fleet = Fleet(self.machines, self.logins)
        only = Member(WORKER, worker_info(WORKER, slots=self.slots), frozenset(self.machines))
        routing = Routing(Registry(fleet, only=only), fleet, PREFIX)
        scheduler = self.scheduler or scheduler_factory("fifo")({})
        with self.db.transaction():
            lease = leases.take(self.db, leases.ORCHESTRATOR, expect=leases.look(self.db, leases.ORCHESTRATOR))
        assert lease is not None
        self.orchestrator = Orchestrator(
            self.db, Impatient(channel), routing=routing, held={}, leader=lease,
            dispatcher=Dispatcher(self.db.store_id, scheduler, "played", fleet, routing, Counters(self.counters)),
        )  # fmt: skip
        #: Dispatches that a worker has and has not answered, and the other orders it got.
        self.tasks: list[TaskMessage] = []
        self.orders: list[Message] = []

    def submit(self, text: str, **how: Any) -> int:
        """A file of this text, submitted by another process; its number in the store."""
        self._count += 1
        path = self.folder / f"play-{self._count}.yaml"
        path.write_text(f"name: play\n{text}" if not text.startswith("name:") else text)
        experiment = read(str(path), task_type=task_type, machines=self.machines)
        [written] = submit_all(self.others, [experiment], now_s=self.clock.time(), **how)
        return written.seq

    def step(self, seconds: float = 0.0) -> Orchestra:
        """The orchestrator looks until nothing more follows, now and ``seconds`` later; what it sent is received."""
        for pause_s in (0.0, seconds) if seconds else (0.0,):
            self.clock.now_s += pause_s
            for _ in range(6):
                self.orchestrator.step()
        while (delivery := self._workers.receive(0)) is not None:
            message = decode(delivery.body)
            (self.tasks if isinstance(message, TaskMessage) else self.orders).append(message)  # type: ignore[arg-type]
            self._workers.ack(delivery)
        return self

    def say(self, message: Message | bytes) -> None:
        """A worker's message; it counts at the next step."""
        self._workers.publish(RESULTS.format(prefix=PREFIX), message if isinstance(message, bytes) else encode(message))

    def task(self, name: str) -> TaskMessage:
        """The newest unanswered dispatch of the task."""
        return next(message for message in reversed(self.tasks) if message.task == name)

    def begin(self, name: str) -> TaskMessage:
        """A worker says that it has begun to execute the task."""
        message = self.task(name)
        self.say(StartedMessage(WORKER, message.key, message.nonce))
        return message

    def end(self, name: str | TaskMessage, outcome: Outcome = DONE, *, keep: bool = False) -> TaskMessage:
        """A worker answers its newest dispatch of the task (``keep``: and will do so again)."""
        message = self.task(name) if isinstance(name, str) else name
        if not keep:
            self.tasks.remove(message)
        self.say(ResultMessage(WORKER, message.key, message.nonce, "e", outcome))
        return message

    def defer(self, name: str) -> TaskMessage:
        """The task's work has begun and goes on without the worker."""
        return self.end(name, DEFERRED)

    def polls(self) -> list[PollMessage]:
        """The unanswered polls, which this takes away."""
        found = [order for order in self.orders if isinstance(order, PollMessage)]
        self.orders = [order for order in self.orders if order not in found]
        return found

    def ends(self) -> list[EndMessage]:
        """The unanswered orders to end deferred work, which this takes away."""
        found = [order for order in self.orders if isinstance(order, EndMessage)]
        self.orders = [order for order in self.orders if order not in found]
        return found

    def answer(self, poll: PollMessage | EndMessage, outcome: Outcome | Callable[[TaskKey], Outcome]) -> None:
        """Answer a poll, or an order to end, the same for all of its tasks or for each."""
        is_end = isinstance(poll, EndMessage)
        answers = [
            Answer(each.key, outcome if isinstance(outcome, Outcome) else outcome(each.key), each.nonce)
            for each in poll.deferrals
        ]
        number = 0 if isinstance(poll, EndMessage) else poll.number
        self.say(PollAnswerMessage(WORKER, poll.machine.name, number, answers, ending=is_end))

    def row(self, seq: int) -> ExperimentRow:
        found = experiments.get(self.others, seq)
        assert found is not None
        return found

    def rows(self, seq: int) -> dict[str, TaskRow]:
        """The tasks of the experiment as they are stored, by name."""
        return {row.name: row for row in experiments.tasks(self.others, seq)}

    def states(self, seq: int) -> dict[str, str]:
        return {name: row.state for name, row in self.rows(seq).items()}

    def told(self, seq: int, kind: str) -> list[str]:
        """The reasons of the experiment's events of that kind."""
        return [str(event.reason) for event in events(self.others, seq) if event.kind == kind]

    def names(self) -> list[str]:
        """The tasks that workers have, sorted."""
        return sorted(message.task for message in self.tasks)
