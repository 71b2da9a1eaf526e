"""What an experiment file is checked against: the orchestrator's machines and counters, where it has told the store."""

from __future__ import annotations

import logging
from dataclasses import replace

from wlmctl.config import Config
from wlmctl.errors import StoreError
from wlmctl.machine import LOCAL, Machine
from wlmctl.store import Database, inventory
from wlmctl.store.leases import ORCHESTRATOR, is_live
from wlmctl.store.opening import is_there, open_configured

log = logging.getLogger(__name__)


def for_submit(config: Config, db: Database) -> Config:
    """The configuration with the machines that a submit counts on: those of the orchestrator that is live.

    Where none is, the next one may have other machines: this host's own count as well.
    """
    stored = inventory.get(db)
    if stored is None:
        return config
    is_led = is_live(db, ORCHESTRATOR)
    own = config.machines if not is_led else {}
    counters = {**inventory.counters(db), **(config.counters if not is_led else {})}
    return replace(config, machines={**stored, **own, LOCAL: config.machines[LOCAL]}, counters=counters)


def for_looking(config: Config) -> Config:
    """The configuration with all machines that this host or an orchestrator knows, for commands that only look.

    Of two with one name the orchestrator's counts on a fleet, this host's own where ``run`` is all there is.
    """
    try:
        stored, counters = _stored(config)
    except StoreError as error:
        log.info("the orchestrator's machines are not known: %s", error)
        return config
    ranked = (config.machines, stored) if config.is_fleet else (stored, config.machines)
    known = {**config.counters, **counters} if config.is_fleet else {**counters, **config.counters}
    return replace(config, machines={**ranked[0], **ranked[1], LOCAL: config.machines[LOCAL]}, counters=known)


def _stored(config: Config) -> tuple[dict[str, Machine], dict[str, int]]:
    if not is_there(config):
        return {}, {}
    with open_configured(config, create=False) as db:
        return inventory.get(db) or {}, inventory.counters(db)
