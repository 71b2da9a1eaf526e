"""Before a run writes anything: its settings are looked at, and its machines asked whether they can be trusted."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from wlmctl import plugins
from wlmctl.config import Config
from wlmctl.connections import ConnectionPool
from wlmctl.errors import LoginRefused, Unreachable, UntrustedHost
from wlmctl.experiment.model import Experiment
from wlmctl.machine import Machine
from wlmctl.runtime.reach import connections
from wlmctl.runtime.roles import machines_named
from wlmctl.task import Defers

log = logging.getLogger(__name__)

_AT_ONCE = 8


def check_settings(config: Config, experiment: Experiment) -> None:
    """The scheduler and the batch systems that will be used exist and take their options; raises what they raise."""
    plugins.scheduler_factory(config.scheduler)(config.scheduler_options)
    with_jobs = [each for each in experiment.templates if isinstance(plugins.task_type(each.type), Defers)]
    for machine in machines_named(config, replace(experiment, templates=tuple(with_jobs))):
        plugins.batch_factory(machine.batch)(machine, machine.batch_options)


def refuse_untrusted(config: Config, experiment: Experiment) -> None:
    """Connect once to each SSH machine that the experiment names.

    Raises ``UntrustedHost`` or ``LoginRefused``, all of them in one message. A machine that does not answer is only
    warned about: it will be held, and its tasks wait.
    """
    machines = [machine for machine in machines_named(config, experiment) if not machine.is_local]
    if not machines:
        return
    with connections(config) as pool, ThreadPoolExecutor(min(len(machines), _AT_ONCE)) as threads:
        answers = list(threads.map(lambda machine: _refusal(pool, machine), machines))
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
