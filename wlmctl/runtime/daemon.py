"""``orchestrator``: this process leads all submitted experiments, until it is told to stop.

With ``memory://`` it works on them too, with the one worker in it. With RabbitMQ it leads the workers of a fleet; slots
of its own are one more worker of that fleet.
"""

from __future__ import annotations

import logging
from functools import partial

from wlmctl.broker.contract import Broker, BrokerRefused
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
        self._own = WorkerProcess(config, slots=slots) if slots and config.is_fleet else None

    def _work(self, db: Database) -> None:
        if not self._config.is_fleet:
            self._lead_again_and_again(db, None)
            return
        broker = open_broker(self._config, "orchestrator")
        try:
            if self._own is not None:
                self._own.start()
            self._lead_again_and_again(db, broker)
        finally:
            if self._own is not None:
                self._own.stop()
                self._own.join()
            broker.close()

    def _lead_again_and_again(self, db: Database, broker: Broker | None) -> None:
        has_led = False
        info = {"is_fleet": broker is not None, "slots": self._slots}
        while not self._stop.is_set():
            try:
                check = partial(self._check, broker)
                self._leader = wait_and_take(db, ORCHESTRATOR, check=check, waiting=_tell, info=info)
                has_led = True
                log.info("this process leads now")
                if broker is not None:
                    self._lead_fleet(db, broker)
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

    def _lead_fleet(self, db: Database, broker: Broker) -> None:
        """Lead the workers that are at the broker. Who ceases to lead hands back what it has not applied."""
        config = self._config
        assert self._leader is not None
        fleet = self._fleet = Fleet(config.machines, logins(config), (host_id(), login_name()))
        routing = Routing(Registry(fleet), fleet, config.prefix)
        settings = WatchSettings(config.prefix, config.lease_s, config.permit_grace_s, self._leader.epoch)
        self._publish_inventory(db)
        channel = broker.channel()
        try:
            channel.consume(RESULTS.format(prefix=config.prefix), RESULT_CREDIT)
            orchestrator = Orchestrator(
                db, channel, routing=routing, dispatcher=self._dispatcher(db, routing), held={}, leader=self._leader,
                watch=Watch(routing, broker, channel, settings),
            )  # fmt: skip
            orchestrator.run(self._stop, lambda: self._refuse(broker))
        finally:
            channel.close()

    def _check(self, broker: Broker | None) -> None:
        if self._stop.is_set():
            raise _Stopped
        if broker is not None:
            self._refuse(broker)

    def _refuse(self, broker: Broker) -> bool:
        """Raise what the broker refuses, or what has ended the own worker: waiting would not help. Else False."""
        if broker.state.what == "refused":
            raise BrokerRefused(broker.state.reason)
        if self._own is not None and (error := self._own.error()) is not None:
            raise error
        return False


class _Stopped(Exception):
    """The daemon was asked to stop while it waited for the lead."""


def _tell(holder: LeaseRow) -> None:
    if holder.process == this_process():  # its own, which it could not give back to a store that was full
        return
    host = holder.info.get("host_name", holder.process.host)
    log.info("process %d on host %s leads; waiting to take over", holder.process.pid, host)
