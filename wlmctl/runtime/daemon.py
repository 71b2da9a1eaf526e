"""``orchestrator``: this process leads all submitted experiments, until it is told to stop."""

from __future__ import annotations

import logging

from wlmctl.config import Config
from wlmctl.runtime.engine import Engine
from wlmctl.store import Database
from wlmctl.store.leases import ORCHESTRATOR, LeaseLost, LeaseRow, wait_and_take

log = logging.getLogger(__name__)


class Daemon(Engine):
    """Leads every experiment that was submitted; where another process leads, it waits and takes over."""

    def __init__(self, config: Config, *, slots: int) -> None:
        super().__init__(config, leases={}, slots=slots)

    def _work(self, db: Database) -> None:
        while not self._stop.is_set():
            try:
                self._leader = wait_and_take(db, ORCHESTRATOR, check=self._check, waiting=_tell)
                super()._work(db)
            except LeaseLost:
                log.warning("another process leads now; waiting")
            except _Stopped:
                return

    def _check(self) -> None:
        if self._stop.is_set():
            raise _Stopped


class _Stopped(Exception):
    """The daemon was asked to stop while it waited for the lead."""


def _tell(holder: LeaseRow) -> None:
    host = holder.info.get("host_name", holder.process.host)
    log.info("process %d on host %s leads; waiting to take over", holder.process.pid, host)
