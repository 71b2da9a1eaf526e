"""Removing what ended experiments left on machines, and telling the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wlmctl.clean_folder import clean_folders
from wlmctl.config import Config
from wlmctl.connections import ConnectionPool
from wlmctl.errors import NoSuch, TransportError, Unreachable, UsageError
from wlmctl.host import host_id
from wlmctl.machine import LOCAL, Machine
from wlmctl.runtime.lookup import host_of_local, machine_at
from wlmctl.states import EXPERIMENT_FINAL, ExperimentState
from wlmctl.store import experiments, machines
from wlmctl.store.database import Database
from wlmctl.store.record import Recorder
from wlmctl.store.rows import ExperimentRow
from wlmctl.transport import Transport
from wlmctl.worker.places import experiment_folder, resolve_scratch


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What became of an experiment's folder on one machine. ``folder`` None: it could not be found out.

    ``existed`` is what was there; ``problem`` is why it still is, and ``is_unreachable`` that another try may help.
    """

    machine: str
    folder: str | None
    existed: bool = False
    files: int = 0
    size_bytes: int = 0
    problem: str = ""
    is_unreachable: bool = False


def check_ended(rows: Sequence[ExperimentRow]) -> None:
    """Refuse experiments that have not ended: their folders are in use."""
    for row in rows:
        if ExperimentState(row.state) not in EXPERIMENT_FINAL:
            raise UsageError(f"{row.id} is {row.state}: only what has ended is cleaned (see: wlmctl cancel {row.id})")


def clean_experiment(
    config: Config, db: Database, row: ExperimentRow, pool: ConnectionPool, *, now_s: float, dry_run: bool = False
) -> list[Cleaned]:
    """Remove ``<scratch>/<id>/`` on each machine that the ended experiment touched; a dry run only looks.

    Delivered endpoints stay, and on ``local`` the folder of the experiment file. The store notes it when nothing is
    left on any machine.
    """
    check_ended([row])
    found = [_on_machine(config, db, row, name, pool, dry_run) for name in machines.machines_touched(db, row.seq)]
    if not dry_run and not any(cleaned.problem for cleaned in found) and not row.cleaned:
        with db.transaction():
            recorder = Recorder(db, row.seq, now_s)
            recorder.experiment_fields("cleaned", cleaned=1)
            recorder.flush(foreign=True)
    return found


def forget(db: Database, row: ExperimentRow) -> None:
    """Remove the experiment from the store, unless somebody has set it to work again meanwhile."""
    with db.transaction():
        now = experiments.get(db, row.seq)
        if now is not None:
            check_ended([now])
            experiments.forget(db, row.seq)


def _on_machine(
    config: Config, db: Database, row: ExperimentRow, name: str, pool: ConnectionPool, dry_run: bool
) -> Cleaned:
    try:
        machine = machine_at(config, name)
    except NoSuch as error:
        return Cleaned(name, None, problem=str(error), is_unreachable=True)
    if machine.name == LOCAL:
        host, shown = host_of_local(db, row) or (host_id(), "")
        if host != host_id():
            return Cleaned(name, None, problem=f"this part lies on {shown}: clean it there", is_unreachable=True)
    folder = None
    try:
        with pool.lease(machine) as transport:
            folder = experiment_folder(resolve_scratch(machine, transport), row.id)
            return _clean(machine, row, transport, folder, dry_run)
    except TransportError as error:
        return Cleaned(name, folder, problem=str(error), is_unreachable=isinstance(error, Unreachable))


def _clean(machine: Machine, row: ExperimentRow, transport: Transport, folder: str, dry_run: bool) -> Cleaned:
    if machine.name == LOCAL and (row.folder == folder or row.folder.startswith(f"{folder}/")):
        return Cleaned(machine.name, folder, problem="the experiment's file lies in there: it is left as it is")
    if not dry_run:
        return Cleaned(machine.name, folder, existed=clean_folders(transport, folder))
    if transport.stat(folder) is None:
        return Cleaned(machine.name, folder)
    content = [info for info in transport.walk(folder) if info.kind != "directory"]
    size_bytes = sum(info.size_bytes for info in content)
    return Cleaned(machine.name, folder, existed=True, files=len(content), size_bytes=size_bytes)
