"""Before a run writes anything: the machines that it names are asked whether they can be trusted and logged in to."""

from __future__ import annotations

import logging

from wlmctl.config import Config
from wlmctl.connections import ConnectionPool
from wlmctl.errors import LoginRefused, StoreError, Unreachable, UntrustedHost
from wlmctl.experiment.model import Experiment
from wlmctl.machine import Machine
from wlmctl.runtime.abreast import abreast
from wlmctl.runtime.reach import connections
from wlmctl.runtime.roles import machines_named
from wlmctl.store.machines import holds
from wlmctl.store.opening import open_configured

log = logging.getLogger(__name__)


def refuse_untrusted(config: Config, experiment: Experiment) -> None:
    """Connect once to each SSH machine that the experiment names, and that no user holds.

    Raises ``UntrustedHost`` or ``LoginRefused``, all of them in one message. A machine that does not answer is only
    warned about: it will be held, and its tasks wait.
    """
    machines = [machine for machine in machines_named(config, experiment) if not machine.is_local]
    if not machines:
        return
    held = _held_by_users(config)
    machines = [machine for machine in machines if machine.name not in held]
    with connections(config) as pool:
        answers = abreast(lambda machine: _refusal(pool, machine), machines)
    refusals = [error for error in answers if error is not None]
    if refusals:
        raise type(refusals[0])("\n".join(map(str, refusals)))


def _refusal(pool: ConnectionPool, machine: Machine) -> UntrustedHost | LoginRefused | None:
    try:
        with pool.lease(machine):
            return None
    except (UntrustedHost, LoginRefused) as error:
        return error
    except Unreachable as error:
        log.warning("%s: it will be held, and its tasks wait for it", error)
        return None


def _held_by_users(config: Config) -> set[str]:
    """Nobody logs in to these; a store that cannot be read is told by what is to write into it."""
    try:
        with open_configured(config, create=False) as db:
            return {name for name, hold in holds(db).items() if hold.by is not None}
    except StoreError:
        return set()
