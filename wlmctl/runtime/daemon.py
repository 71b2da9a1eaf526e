"""``orchestrator``: this process leads all submitted experiments, until it is told to stop."""

from __future__ import annotations

import logging

from wlmctl.config import Config
from wlmctl.errors import StoreBusy, StoreError
from wlmctl.host import this_process
from wlmctl.runtime.engine import Engine
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

    def _work(self, db: Database) -> None:
        has_led = False
        while not self._stop.is_set():
            try:
                self._leader = wait_and_take(db, ORCHESTRATOR, check=self._check, waiting=_tell)
                has_led = True
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
