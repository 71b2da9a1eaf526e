"""A fleet whose workers, broker and leaders are played by the test: they die, fall silent, lose everything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.orchestra import PREFIX, Impatient, Orchestra
from tests.play import DONE, task_type, worker_info
from wlmctl.broker.contract import Delivery
from wlmctl.broker.memory import MemoryBroker
from wlmctl.message import (
    GoodbyeMessage,
    HeartbeatMessage,
    HeldMessage,
    MarkMessage,
    Message,
    Outcome,
    ResultMessage,
    ReturnedMessage,
    StartedMessage,
    StepProgress,
    TaskKey,
    TaskMessage,
    decode,
    encode,
    unbundle,
)
from wlmctl.orchestrator.counters import Counters
from wlmctl.orchestrator.dispatching import Dispatcher
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.loop import Orchestrator
from wlmctl.orchestrator.registry import Registry
from wlmctl.orchestrator.routing import Routing
from wlmctl.orchestrator.watch import Watch, WatchSettings
from wlmctl.plugins import scheduler_factory
from wlmctl.queues import DEAD, RESULTS, control_queue, marks_queue, type_queue, worker_queue
from wlmctl.store import experiments, leases, workers

RESULT_QUEUE = RESULTS.format(prefix=PREFIX)

__all__ = ["PlayedFleet", "PlayedWorker", "task_type"]


class PlayedWorker:
    """A worker that does what the test says. It takes what is delivered, and says so in its heartbeats."""

    def __init__(self, play: PlayedFleet, name: str, **info: Any) -> None:
        self.play = play
        self.info = worker_info(name, pid=len(play.workers) + 2, **info)
        self.id = f"u.{name}-{len(play.workers)}"
        self.mark = 0
        self.held: dict[TaskKey, tuple[TaskMessage, Delivery]] = {}
        self.begun: set[TaskKey] = set()
        self.leased: set[TaskKey] = set()
        self.permits: list[str] = []
        self.progress: list[StepProgress] = []
        self.orders: list[Message] = []
        self.is_silent = self.is_dead = self.is_draining = False
        self._number = 0
        self.channel = play.broker.channel(lost=self._lost)
        self._out = play.broker.channel()
        self.channel.consume(marks_queue(PREFIX, self.id), None)
        self.channel.consume(control_queue(PREFIX, self.id), 1000)
        self.channel.consume(worker_queue(PREFIX, self.id), 1000)
        for name in self.info.types:
            self.channel.consume(type_queue(PREFIX, name), self.info.slots + 2)
        self.beat()

    def _lost(self, epoch: int) -> None:
        """What was delivered and has not begun belongs to others now."""
        self.held = {key: found for key, found in self.held.items() if key in self.begun}
        self.mark = 0

    def say(self, message: Message) -> None:
        """A message of this worker to whoever leads."""
        self._out.publish(RESULT_QUEUE, encode(message))

    def take(self) -> None:
        """Take what is delivered; what was delivered before goes back."""
        if self.is_dead:
            return
        for delivery in self.channel.receive_many(10_000, 0):
            for message in map(decode, unbundle(delivery.body)):
                if isinstance(message, MarkMessage):
                    self.mark = message.number
                elif not isinstance(message, TaskMessage):
                    self.orders.append(message)
                elif delivery.redelivered:
                    self.say(ReturnedMessage(self.id, message.key, message.nonce, "redelivered"))
                else:
                    self.held[message.key] = message, delivery
            self._settle(delivery)

    def _settle(self, delivery: Delivery) -> None:
        """Ack it once nothing of it is left."""
        if all(kept is not delivery for _, kept in self.held.values()):
            self.channel.ack(delivery)

    def beat(self) -> None:
        """A heartbeat."""
        if self.is_silent or self.is_dead:
            return
        self._number += 1
        started = self.begun - self.leased
        held = self.held.keys() - self.begun
        self.say(
            HeartbeatMessage(
                self.id, self.info, self._number, self.mark, self.is_draining, sorted_keys(held), sorted_keys(started),
                sorted_keys(self.leased), self.permits, self.progress,
            )
        )  # fmt: skip

    def names(self) -> list[str]:
        """The tasks that it has, sorted."""
        return sorted(message.task for message, _ in self.held.values())

    def task(self, name: str) -> TaskMessage:
        """Its newest dispatch of the task."""
        return next(message for message, _ in reversed(self.held.values()) if message.task == name)

    def begin(self, name: str) -> TaskMessage:
        """It executes the task, and says so."""
        message = self.task(name)
        self.begun.add(message.key)
        self.say(StartedMessage(self.id, message.key, message.nonce))
        return message

    def lease(self, name: str) -> TaskMessage:
        """The step is long: it keeps the task without its message."""
        message = self.begin(name)
        self.leased.add(message.key)
        self.say(HeldMessage(self.id, message.key, message.nonce))
        self.channel.ack(self.held[message.key][1])
        return message

    def end(self, name: str, outcome: Outcome = DONE) -> TaskMessage:
        """It answers its newest dispatch of the task."""
        return self.finish(self.task(name).key, outcome)

    def finish(self, key: TaskKey, outcome: Outcome = DONE) -> TaskMessage:
        """It answers this dispatch."""
        message, delivery = self.held.pop(key)
        self.begun.discard(message.key)
        self.leased.discard(message.key)
        self.say(ResultMessage(self.id, message.key, message.nonce, "e", outcome))
        self._settle(delivery)
        return message

    def hand_back(self, name: str, reason: str) -> None:
        """It hands the task back without having begun."""
        message = self.task(name)
        _, delivery = self.held.pop(message.key)
        self.say(ReturnedMessage(self.id, message.key, message.nonce, reason))
        self._settle(delivery)

    def drop(self, name: str) -> None:
        """The broker has lost the message, and the worker with it."""
        message = self.task(name)
        _, delivery = self.held.pop(message.key)
        self._settle(delivery)

    def die(self) -> None:
        """Killed: its connection is gone at once."""
        self.is_dead = True
        self.channel.close()
        self._out.close()

    def drain(self) -> None:
        """It takes nothing new, and says so."""
        self.is_draining = True
        for queue in (worker_queue(PREFIX, self.id), *(type_queue(PREFIX, name) for name in self.info.types)):
            self.channel.consume(queue, 0)
        self.beat()

    def goodbye(self) -> None:
        """It ends in order."""
        self.say(GoodbyeMessage(self.id, "told to"))
        self.die()


def sorted_keys(keys: Any) -> list[TaskKey]:
    return sorted(keys, key=lambda key: (key.exp, key.idx, key.dispatch))


@dataclass
class PlayedFleet(Orchestra):
    """One store and one broker that outlive leaders; workers come and go."""

    own: tuple[str, str] = ("here", "me")
    workers: list[PlayedWorker] = field(default_factory=list)
    lease_s: float = 30.0

    def __post_init__(self) -> None:
        self.broker = MemoryBroker(PREFIX)
        self.channel: Any = None
        super().__post_init__()

    def lead(self) -> None:
        """A new leader: the one before is killed, the broker and the workers go on."""
        if self.channel is not None:
            self.channel.close()
        self.channel = self.broker.channel()
        self.channel.declare(DEAD.format(prefix=PREFIX))
        self.channel.declare(RESULT_QUEUE)
        self.channel.consume(RESULT_QUEUE, 1_000_000)
        fleet = Fleet(self.machines, self.logins, self.own)
        routing = Routing(Registry(fleet), fleet, PREFIX)
        scheduler = self.scheduler or scheduler_factory("fifo")({})
        with self.db.transaction():
            lease = leases.take(self.db, leases.ORCHESTRATOR, expect=leases.look(self.db, leases.ORCHESTRATOR))
        assert lease is not None
        settings = WatchSettings(PREFIX, self.lease_s, 30.0, lease.epoch)
        self.orchestrator = Orchestrator(
            self.db, Impatient(self.channel), routing=routing, held={}, leader=lease,
            dispatcher=Dispatcher(self.db.store_id, scheduler, "played", fleet, routing, Counters(self.counters)),
            watch=Watch(routing, self.broker, self.channel, settings, has_thread=False),
        )  # fmt: skip

    def worker(self, name: str, **info: Any) -> PlayedWorker:
        """One more worker."""
        self.workers.append(PlayedWorker(self, name, **info))
        return self.workers[-1]

    def submit(self, text: str, **how: Any) -> int:
        """As ever, from the host and login whose ``local`` the leader's is."""
        seq = super().submit(text, **how)
        with self.others.transaction():
            self.others.execute(
                'UPDATE experiments SET host = ?, "user" = ?, host_name = ?, revision = revision + 1 WHERE seq = ?',
                (*self.own, self.own[0], seq),
            )
        return seq

    def step(self, seconds: float = 0.0) -> PlayedFleet:
        """The leader looks until nothing more follows; workers take what was sent. With seconds: as time passes."""
        self._look()
        left_s = seconds
        while left_s > 0:
            self.clock.now_s += min(0.5, left_s)
            left_s -= 0.5
            if round(self.clock.now_s * 2) % 2 == 0:
                for worker in self.workers:
                    worker.beat()
            self._look()
        return self

    def _look(self) -> None:
        for _ in range(4):
            for _ in range(3):
                self.orchestrator.step()
            for worker in self.workers:
                worker.take()

    def lose_everything(self) -> None:
        """The broker loses its data and its connections."""
        for channel in self.broker._channels:
            channel._unacked.clear()
        for queue in self.broker._queues.values():
            queue.clear()
        self.broker.restart()

    def who_has(self, name: str) -> list[str]:
        """The names of the workers that have a dispatch of the task."""
        return [worker.info.name for worker in self.workers if not worker.is_dead and name in worker.names()]

    def worker_states(self) -> dict[str, str]:
        """The workers as the store has them."""
        return {row.name: row.state for row in workers.rows(self.others)}

    def dispatch(self, seq: int, name: str) -> int:
        """The number of the task's newest dispatch."""
        return next(row.dispatch for row in experiments.tasks(self.others, seq) if row.name == name)
