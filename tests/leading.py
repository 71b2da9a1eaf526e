"""A test that plays the leader of a fleet: it sends dispatches to real workers and reads what they say."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.play import machine
from tests.waiting import wait_until
from wlmctl.broker.contract import Broker, Channel, Delivery
from wlmctl.connections import ConnectionPool
from wlmctl.message import (
    HeartbeatMessage,
    Message,
    ResultMessage,
    TaskKey,
    TaskMessage,
    WorkerInfo,
    decode,
    encode,
    unbundle,
)
from wlmctl.queues import DEAD, RESULTS, control_queue, marks_queue, type_queue, worker_queue
from wlmctl.task import Done, Resources
from wlmctl.task_context import TaskContext
from wlmctl.worker.machines import Machines
from wlmctl.worker.permits import AskedPermits
from wlmctl.worker.worker import Worker, WorkerSettings

M = TypeVar("M")

Execute = Callable[[TaskContext], Any]


class Scripted:
    """A task type that does what the test says of each task; else it is done at once."""

    def __init__(self) -> None:
        self.scripts: dict[str, Execute] = {}
        self.executed: list[str] = []

    def parse(self, mapping: Mapping[str, Any], folder: Path) -> Any:
        return mapping

    def machines(self, spec: Any) -> Sequence[str]:
        return ("local",)

    def execute(self, spec: Any, context: TaskContext) -> Any:
        self.executed.append(context.task)
        return self.scripts.get(context.task, lambda _: Done())(context)


class Leader:
    """The other end of the workers' queues, on a connection of its own."""

    def __init__(self, broker: Broker, monkeypatch: pytest.MonkeyPatch, types: Sequence[str] = ("a", "b")) -> None:
        self.broker, self.type = broker, Scripted()
        self.channel: Channel = broker.channel()
        for queue in (RESULTS.format(prefix="wlm"), DEAD.format(prefix="wlm"), *(type_queue("wlm", t) for t in types)):
            self.channel.declare(queue)
        self.channel.consume(RESULTS.format(prefix="wlm"), 100_000)
        self.said: list[Message] = []
        self.bodies: list[list[Message]] = []
        self.unacked: list[Delivery] = []
        self._numbers = itertools.count(1)
        self._workers: list[Worker] = []
        for place in ("wlmctl.plugins.task_type", "wlmctl.worker.slots.task_type"):
            monkeypatch.setattr(place, lambda _: self.type)

    def worker(
        self, broker: Broker, name: str = "w", *, slots: int = 2, types: Sequence[str] = ("a",), start: bool = True,
        open_transport: Callable[..., Any] | None = None, reaches: tuple[str, ...] = ("*",), **settings: Any,
    ) -> Worker:  # fmt: skip
        """A worker of a fleet, on a connection of its own."""
        info = WorkerInfo(name, "h", "h", "u", "b", 1, "1", slots, tuple(types), machines=reaches)
        permits = AskedPermits()
        pool = ConnectionPool(open_transport or _no_connection, budget=permits, login_of=lambda m: f"u@{m.name}:22")
        defaults = {"heartbeat_s": 0.2, "is_fleet": True}
        worker = Worker(name, broker, Machines(pool), settings=WorkerSettings(info, **{**defaults, **settings}))
        self._workers.append(worker)
        if start:
            worker.start()
            self.beat(worker, lambda _: True)
        return worker

    def message(self, task: str = "t", task_type: str = "a", **fields: Any) -> TaskMessage:
        """A dispatch of a task."""
        return TaskMessage(
            fields.pop("key", None) or TaskKey(1, 0, 1, next(self._numbers)), "nonce", "0" * 32, "x-aaaaaa", task,
            task_type, {}, {"local": "local"}, {"local": machine("local")}, "/tmp", Resources(), **fields,
        )  # fmt: skip

    def send(self, task: str = "t", task_type: str = "a", *, to: Worker | None = None, **fields: Any) -> TaskMessage:
        """Send a dispatch to the shared queue of its type, or to one worker."""
        message = self.message(task, task_type, **fields)
        self.resend(message, to)
        return message

    def resend(self, message: TaskMessage, to: Worker | None = None) -> None:
        """Send this dispatch."""
        queue = worker_queue("wlm", to.id) if to is not None else type_queue("wlm", message.type)
        self.channel.publish(queue, encode(message), priority=message.priority, timeout_s=60)

    def order(self, worker: Worker, message: Message) -> None:
        """Send a control message."""
        self.channel.publish(control_queue("wlm", worker.id), encode(message), timeout_s=60)

    def mark(self, worker: Worker, message: Message) -> None:
        """Send a mark."""
        self.channel.publish(marks_queue("wlm", worker.id), encode(message), timeout_s=60)

    def listen(self, timeout_s: float = 0.05) -> None:
        """Take what the workers have said by now."""
        for delivery in self.channel.receive_many(1000, timeout_s):
            messages = [decode(body) for body in unbundle(delivery.body)]
            self.bodies.append(messages)
            self.said.extend(messages)
            self.channel.ack(delivery)

    def wait(self, kind: type[M], wanted: Callable[[M], bool] = lambda _: True, timeout_s: float = 60) -> M:
        """The first message of a kind that fits, among all that were ever said; waits for it."""

        def look() -> M | None:
            self.listen()
            return next((found for found in self.said if isinstance(found, kind) and wanted(found)), None)

        found = wait_until(look, f"a {kind.__name__} comes", timeout_s)
        assert found is not None
        return found

    def beat(self, worker: Worker, wanted: Callable[[HeartbeatMessage], bool], timeout_s: float = 60) -> Any:
        """The next heartbeat of the worker that fits; earlier ones do not count."""
        self.listen(0)
        before = len(self.said)

        def look() -> HeartbeatMessage | None:
            self.listen()
            beats = [each for each in self.said[before:] if isinstance(each, HeartbeatMessage)]
            return next((each for each in beats if each.worker == worker.id and wanted(each)), None)

        return wait_until(look, "a heartbeat comes", timeout_s)

    def result(self, message: TaskMessage, timeout_s: float = 60) -> ResultMessage:
        """The result of this dispatch; waits for it."""
        return self.wait(ResultMessage, lambda found: found.key == message.key, timeout_s)

    def results(self) -> list[TaskKey]:
        """The keys of all results that have come by now."""
        self.listen()
        return [found.key for found in self.said if isinstance(found, ResultMessage)]

    def close(self) -> None:
        """End the workers that are left."""
        for worker in self._workers:
            with suppress(Exception):
                worker.close(0.0)


def waits_for_end(event: Any) -> Execute:
    """A step that takes until the event, or until it is stopped."""

    def execute(context: TaskContext) -> Done:
        while not event.wait(0.02):
            context.check_cancelled()
        return Done()

    return execute


def _no_connection(found: Any) -> Any:
    raise AssertionError(f"nothing here connects to {found.name}")


def settle(predicate: Callable[[], Any], for_s: float) -> None:
    """Look for a while that something stays true."""
    end_s = time.monotonic() + for_s
    while time.monotonic() < end_s:
        assert predicate()
        time.sleep(0.02)
