"""``orchestrator``: this process leads all submitted experiments, until it is told to stop.

With ``memory://`` it works on them too, with the one worker in it. With RabbitMQ it leads the workers of a fleet; slots
of its own are one more worker of that fleet.
"""

from __future__ import annotations

import logging

from wlmctl.broker.contract import Broker, BrokerRefused, LinkState
from wlmctl.config import Config
from wlmctl.errors import StoreBusy, StoreError
from wlmctl.host import host_id, this_process
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.loop import Orchestrator
from wlmctl.orchestrator.registry import Registry
from wlmctl.orchestrator.routing import Routing
from wlmctl.orchestrator.watch import Watch, WatchSettings
from wlmctl.queues import RESULTS
from wlmctl.runtime.broker import open_broker
from wlmctl.runtime.engine import RESULT_CREDIT, Engine, logins
from wlmctl.runtime.submit import login_name
from wlmctl.runtime.worker_process import WorkerProcess
from wlmctl.store import Database
from wlmctl.store.leases import ORCHESTRATOR, LeaseLost, LeaseRow, wait_and_take

log = logging.getLogger(__name__)

#: Seconds before a store that could not be used is tried again.
OUTAGE_S = 5.0


class Daemon(Engine):
    """Leads every experiment that was submitted; where another process leads, it waits and takes over.

    A store that cannot be written for a while (a full disk, a lock) is waited for, once there was one.
    """

    def __init__(self, config: Config, *, slots: int) -> None:
        super().__init__(config, leases={}, slots=slots)
        self._fleet_slots = slots if config.is_fleet else 0

    def _work(self, db: Database) -> None:
        worker = None
        if self._fleet_slots:
            worker = WorkerProcess(self._config, slots=self._fleet_slots)
            worker.start()
        try:
            self._lead_again_and_again(db)
        finally:
            if worker is not None:
                worker.stop()
                worker.join()

    def _lead_again_and_again(self, db: Database) -> None:
        has_led = False
        while not self._stop.is_set():
            try:
                info = {"is_fleet": self._config.is_fleet}
                self._leader = wait_and_take(db, ORCHESTRATOR, check=self._check, waiting=_tell, info=info)
                has_led = True
                if self._config.is_fleet:
                    self._lead_fleet(db)
                else:
                    super()._work(db)
            except LeaseLost:
                log.warning("another process leads now; waiting")
            except StoreError as error:
                if self._stop.is_set() or not (has_led or isinstance(error, StoreBusy)):
                    raise
                log.error("%s; trying again, jobs go on", error)
                self._stop.wait(OUTAGE_S)
            except _Stopped:
                return

    def _lead_fleet(self, db: Database) -> None:
        """Lead the workers that are at the broker. What this process had unacked goes back when it ends."""
        config = self._config
        assert self._leader is not None
        broker = open_broker(config, "orchestrator")
        try:
            broker.watch(_tell_link)
            fleet = self._fleet = Fleet(config.machines, logins(config), (host_id(), login_name()))
            routing = Routing(Registry(fleet), fleet, config.prefix)
            settings = WatchSettings(config.prefix, config.lease_s, config.permit_grace_s, self._leader.epoch)
            self._publish_inventory(db)
            channel = broker.channel()
            channel.consume(RESULTS.format(prefix=config.prefix), RESULT_CREDIT)
            orchestrator = Orchestrator(
                db, channel, routing=routing, dispatcher=self._dispatcher(db, routing),
                held={}, leader=self._leader, watch=Watch(routing, broker, channel, settings),
            )  # fmt: skip
            orchestrator.run(self._stop, lambda: self._is_refused(broker))
        finally:
            broker.close()

    def _is_refused(self, broker: Broker) -> bool:
        """Raises what the broker refuses: waiting would not help."""
        if broker.state.what == "refused":
            raise BrokerRefused(broker.state.reason)
        return False

    def _check(self) -> None:
        if self._stop.is_set():
            raise _Stopped


class _Stopped(Exception):
    """The daemon was asked to stop while it waited for the lead."""


def _tell(holder: LeaseRow) -> None:
    if holder.process == this_process():  # its own, which it could not give back to a store that was full
        return
    host = holder.info.get("host_name", holder.process.host)
    log.info("process %d on host %s leads; waiting to take over", holder.process.pid, host)


def _tell_link(state: LinkState) -> None:
    if state.what in ("reconnecting", "blocked"):
        log.warning("the broker is away: %s", state.reason)
    elif state.what == "connected":
        log.info("connected to the broker")
