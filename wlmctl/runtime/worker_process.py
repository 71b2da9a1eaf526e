"""``worker``: this process executes tasks for a leader that may be anywhere; it has no store.

The id of a worker is new at each start. One whose own queue is deleted can be reached by nobody any more: another
one takes over in the same process, under a new id, while the old one finishes what it has begun.
"""

from __future__ import annotations

import logging
import secrets
import socket
import threading
from collections.abc import Sequence

import wlmctl
from wlmctl import plugins
from wlmctl.broker.contract import Broker, BrokerRefused
from wlmctl.config import Config
from wlmctl.connections import ConnectionPool
from wlmctl.host import this_process
from wlmctl.message import SCHEMA, WorkerInfo
from wlmctl.queues import queue_word
from wlmctl.runtime.broker import broker_user, open_broker
from wlmctl.runtime.reach import open_transport
from wlmctl.runtime.submit import login_name
from wlmctl.worker.context import ExecutionContext
from wlmctl.worker.machines import Machines
from wlmctl.worker.permits import AskedPermits
from wlmctl.worker.worker import Worker, WorkerSettings

log = logging.getLogger(__name__)

#: Seconds that steps under way get to break off when the end is to be now.
BREAK_OFF_S = 5.0

#: Seconds after which RabbitMQ may give deliveries of a silent connection to others: three of its heartbeats.
REDELIVERY_S = 15.0

#: Seconds between two looks at the workers.
LOOK_S = 0.1

_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


class WorkerProcess:
    """Works until it is drained or stopped. ``start`` once; ``drain`` or ``stop``, then ``join``, end it."""

    def __init__(
        self,
        config: Config,
        *,
        slots: int,
        name: str | None = None,
        types: Sequence[str] = (),
        labels: Sequence[str] = (),
        machines: Sequence[str] = (),
    ) -> None:
        self._config = config
        self.name = queue_word(name or socket.gethostname())
        self._info = worker_info(self.name, slots, types, labels, machines, config.heartbeat_s)
        self._workers: list[Worker] = []
        self._draining, self._stopping = threading.Event(), threading.Event()
        self._woken = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    @property
    def worker_id(self) -> str:
        """The id it works under now; empty before its start."""
        return self._workers[-1].id if self._workers else ""

    def executing(self) -> list[ExecutionContext]:
        """The executions under way, with how far they are."""
        return [context for worker in self._workers for context in worker.executing()]

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def drain(self) -> None:
        """Finish what has begun, hand back the rest, then end."""
        self._draining.set()
        self._woken.set()

    def stop(self) -> None:
        """Break off what has begun, then end."""
        self._stopping.set()
        self._woken.set()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; False after the time-out."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def error(self) -> BaseException | None:
        """What has ended it, if anything did: ``BrokerRefused`` where the broker does not let it in."""
        return self._error

    def _run(self) -> None:
        try:
            broker = open_broker(self._config, f"worker {self.name}")
            try:
                self._work(broker)
            finally:
                for worker in self._workers:
                    worker.close(BREAK_OFF_S)
                broker.close()
        except BaseException as error:
            log.debug("the worker has ended", exc_info=True)
            self._error = error

    def _work(self, broker: Broker) -> None:
        self._begin(broker)
        while self._workers and not self._stopping.is_set():
            if broker.state.what == "refused":
                raise BrokerRefused(broker.state.reason)
            newest = self._workers[-1]
            if (error := newest.error()) is not None:
                raise error
            if self._draining.is_set():
                for worker in self._workers:
                    worker.drain("told to drain")
            elif newest.needs_successor:
                self._begin(broker)
            for worker in [each for each in self._workers if each.finished()]:
                worker.close(BREAK_OFF_S)
                self._workers.remove(worker)
            self._woken.wait(LOOK_S)
            self._woken.clear()

    def _begin(self, broker: Broker) -> None:
        """A worker under a new id."""
        word = "".join(secrets.choice(_ID_LETTERS) for _ in range(6))
        worker_id = f"{queue_word(broker_user(self._config))}.{self.name}-{word}"
        machines = asking_machines(self._config)
        settings = WorkerSettings(
            self._info, self._config.prefix, is_fleet=True, ack_timeout_s=self._config.ack_timeout_s,
            heartbeat_s=self._config.heartbeat_s, redelivery_s=REDELIVERY_S,
        )  # fmt: skip
        worker = Worker(worker_id, broker, machines, settings=settings)
        self._workers.append(worker)
        worker.start()
        log.info("worker %s: %d slots for %s", worker_id, self._info.slots, ", ".join(self._info.types))


def asking_machines(config: Config) -> Machines:
    """Machines as a worker without a store reaches them: permits are asked of the leader, logins are its own."""
    return Machines(ConnectionPool(open_transport, budget=AskedPermits()), config.machines)


def worker_info(
    name: str,
    slots: int,
    types: Sequence[str] = (),
    labels: Sequence[str] = (),
    machines: Sequence[str] = (),
    heartbeat_s: float = 1.0,
) -> WorkerInfo:
    """What a worker of this process says of itself; without types: all that plugins offer."""
    me = this_process()
    return WorkerInfo(
        name=name,
        host=me.host,
        host_name=socket.gethostname(),
        user=login_name(),
        boot=me.boot,
        pid=me.pid,
        start_time=me.start_time,
        slots=slots,
        types=tuple(types or plugins.names("task")),
        labels=tuple(labels),
        machines=tuple(machines or ("*",)),
        schemas=(SCHEMA,),
        version=wlmctl.__version__,
        heartbeat_s=heartbeat_s,
    )
