"""One process that works on experiments by itself: orchestrator, worker and the in-process broker, wired together."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wlmctl import plugins
from wlmctl.broker.memory import MemoryBroker
from wlmctl.config import Config
from wlmctl.connections import ConnectionPool
from wlmctl.errors import StoreOutage
from wlmctl.orchestrator.counters import Counters
from wlmctl.orchestrator.dispatching import Dispatcher
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.loop import Orchestrator
from wlmctl.orchestrator.policy import Policy
from wlmctl.orchestrator.progressing import Progressing
from wlmctl.orchestrator.registry import Member, Registry
from wlmctl.orchestrator.routing import Routing
from wlmctl.orchestrator.work import Work
from wlmctl.queues import DEAD, RESULTS
from wlmctl.recording import Recorder
from wlmctl.runtime.reach import open_transport
from wlmctl.runtime.worker_process import worker_info
from wlmctl.ssh.login import resolved_login
from wlmctl.store import Database, inventory, leases
from wlmctl.store.leases import Lease
from wlmctl.store.opening import open_patiently
from wlmctl.store.patience import Patience
from wlmctl.store.permits import Permits
from wlmctl.worker.machines import Machines
from wlmctl.worker.worker import Worker, WorkerSettings

log = logging.getLogger(__name__)

#: Executions at once where nobody says otherwise.
DEFAULT_SLOTS = 8

#: The name of the one worker of this process.
WORKER = "local"

#: Seconds that steps under way get to break off at the end.
BREAK_OFF_S = 5.0

#: Results that may be here unacked; AMQP knows no more than 65,535.
RESULT_CREDIT = 20_000


@dataclass(frozen=True, slots=True)
class Transfer:
    """How far a step under way is. ``left_s`` is None where it cannot be told."""

    experiment: int
    task: str
    what: str
    bytes_done: int
    bytes_total: int
    files_done: int
    files_total: int
    rate_bytes_s: float
    left_s: float | None


class Engine:
    """Orchestrator and worker threads of this process. ``start`` once; ``stop`` and ``join`` end it."""

    def __init__(
        self,
        config: Config,
        *,
        leases: Mapping[int, Lease],
        leader: Lease | None = None,
        slots: int | None = None,
    ) -> None:
        self._config, self._leases, self._leader = config, leases, leader
        self._slots = slots or DEFAULT_SLOTS
        self._stop = threading.Event()
        self._finished = threading.Event()
        self._error: BaseException | None = None
        self._worker: Worker | None = None
        self._fleet: Fleet | None = None
        self._works: Mapping[int, Work] = {}
        self._thread = threading.Thread(target=self._run, name="orchestrator", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def finished(self) -> bool:
        """True when there is nothing left to do, or an error has ended it."""
        return self._finished.is_set()

    def error(self) -> BaseException | None:
        """What ended it, if anything did."""
        return self._error

    def holds(self) -> dict[str, str]:
        """The held machines that tasks wait for, with the reasons."""
        held = dict(self._fleet.held) if self._fleet is not None else {}
        told = {name for work in list(self._works.values()) for name in list(work.told_held)}
        return {name: reason for name, reason in held.items() if name in told}

    def transfers(self) -> list[Transfer]:
        """The steps under way that tell how far they are."""
        if self._worker is None:
            return []
        return [
            Transfer(
                context.message.key.exp, context.task, told.what, told.bytes_done, told.bytes_total, told.files_done,
                told.files_total, told.rate_bytes_s, context.left_s(),
            )
            for context in self._worker.executing()
            if (told := context.told()) is not None
        ]  # fmt: skip

    def stop(self) -> None:
        """Ask for the end: jobs go on, steps are broken off, leases are given back."""
        self._stop.set()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; False after the time-out."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            patience = Patience(lambda: not self._stop.is_set())
            with open_patiently(self._config.store, self._config.store_login, patience) as db:
                self._work(db)
        except StoreOutage as outage:
            if not self._stop.is_set():
                self._error = outage
        except BaseException as error:
            log.debug("the orchestrator has ended", exc_info=True)
            self._error = error
        finally:
            self._finished.set()

    def _work(self, db: Database) -> None:
        """Work on what the leases say, with the broker and the one worker of this process."""
        config = self._config
        broker = MemoryBroker(config.prefix, message_limit_bytes=config.message_limit_bytes)
        fleet = self._fleet = Fleet(config.machines, logins(config))
        info = worker_info(WORKER, self._slots)
        routing = Routing(Registry(fleet, only=Member(WORKER, info, frozenset(fleet.names()))), fleet, config.prefix)
        channel = broker.channel()
        for queue in (DEAD, RESULTS):
            channel.declare(queue.format(prefix=config.prefix))
        channel.consume(RESULTS.format(prefix=config.prefix), RESULT_CREDIT)
        permits = Permits(config.store, config.store_login, is_lasting=True)
        machines = Machines(ConnectionPool(open_transport, budget=permits))
        worker = self._worker = Worker(WORKER, broker, machines, settings=WorkerSettings(info, config.prefix))
        orchestrator = Orchestrator(
            db, channel, routing=routing, dispatcher=self._dispatcher(db, routing), held=self._leases,
            leader=self._leader, progressing=Progressing(worker.progress),
        )  # fmt: skip
        self._works = orchestrator.works
        worker.start()

        def done() -> bool:
            if (error := worker.error()) is not None:
                raise error
            return self._leader is None and orchestrator.is_finished()

        try:
            self._publish_inventory(db)
            orchestrator.run(self._stop, done)
        finally:
            worker.close(BREAK_OFF_S)

    def _dispatcher(self, db: Database, routing: Routing) -> Dispatcher:
        config = self._config
        scheduler = plugins.scheduler_factory(config.scheduler)(config.scheduler_options)
        recorder = Recorder(Path(config.record_decisions)) if config.record_decisions else None
        policy = Policy(scheduler, config.scheduler, config.scheduler_options, recorder, config.decision_limit_s)
        return Dispatcher(db.store_id, policy, config.scheduler, routing.fleet, routing, Counters(config.counters))

    def _publish_inventory(self, db: Database) -> None:
        """Who leads says what submits are checked against."""
        if self._leader is not None:
            with db.transaction():
                leases.check(db, self._leader)
                inventory.put(db, self._config.machines)
                inventory.put_counters(db, self._config.counters)


def logins(config: Config) -> dict[str, str]:
    """What the capacity of machines is counted by."""
    return {name: resolved_login(machine) for name, machine in config.machines.items() if not machine.is_local}
