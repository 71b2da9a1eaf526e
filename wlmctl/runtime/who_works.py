"""Who would work on an experiment that is submitted now, and what is missing."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence

from wlmctl.config import Config
from wlmctl.experiment.model import Experiment
from wlmctl.host import host_id, is_gone
from wlmctl.machine import LOCAL
from wlmctl.runtime.roles import machines_named
from wlmctl.runtime.submit import login_name
from wlmctl.store import Database, workers
from wlmctl.store.leases import ORCHESTRATOR, look
from wlmctl.store.workers import WorkerRow


def is_on(row: WorkerRow, wanted: str) -> bool:
    """True when the worker is what ``--local-on`` names: its name, its host or one of its labels."""
    said = row.details
    return wanted in (row.id, row.name, said["host"], said["host_name"], *said["labels"])


def missing(db: Database, config: Config, new: Sequence[Experiment], local_on: str | None) -> Iterator[str]:
    """What the experiments will wait for, each with what to do about it."""
    leader = look(db, ORCHESTRATOR)
    if leader is not None and is_gone(leader.process):
        leader = None
    if leader is None:
        yield "no orchestrator is running: it waits in the store until one is started (wlmctl orchestrator)"
    live = workers.live(db)
    is_fleet = bool(leader.info.get("is_fleet")) if leader is not None else bool(live) or config.is_fleet
    if is_fleet and not live:
        yield "no worker is live: its tasks wait until one is started (wlmctl worker)"
    elif local_on is not None and not any(is_on(each, local_on) for each in live):
        yield f"no live worker is on {local_on!r}, or has it as its name or label: tasks on local wait for one"
    elif local_on is None and touches_local(config, new):
        here, user = host_id(), login_name()
        if is_fleet and not any((each.details["host"], each.details["user"]) == (here, user) for each in live):
            yield (
                f"no live worker is on this host ({socket.gethostname()}) as user {user}: tasks on local wait for one;"
                " start wlmctl worker here, or submit with --local-on"
            )
        elif not is_fleet and leader is not None and leader.process.host != here:
            name = leader.info.get("host_name", leader.process.host)
            yield f"the orchestrator works on host {name}: tasks on local, which is this host, wait for one here"


def lacks_workers(db: Database) -> bool:
    """True when an orchestrator leads a fleet that has no worker now."""
    leader = look(db, ORCHESTRATOR)
    if leader is None or is_gone(leader.process) or not leader.info.get("is_fleet"):
        return False
    return not workers.live(db)


def touches_local(config: Config, new: Iterable[Experiment]) -> bool:
    """True when a task of one of them names ``local``."""
    return any(machine.name == LOCAL for each in new for machine in machines_named(config, each))
