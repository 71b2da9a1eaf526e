"""Finding what a user names: an experiment's tasks, and its folder on a machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wlmctl.errors import NoSuch, UsageError
from wlmctl.host import host_id
from wlmctl.machine import LOCAL, Machine
from wlmctl.store import experiments, workers
from wlmctl.store.database import Database
from wlmctl.store.rows import ExperimentRow, TaskRow
from wlmctl.suggest import did_you_mean

if TYPE_CHECKING:
    from wlmctl.config import Config
    from wlmctl.connections import ConnectionPool


def tasks_named(db: Database, row: ExperimentRow, text: str) -> list[TaskRow]:
    """The tasks that ``simulate``, ``simulate[300,1]`` or ``simulate:300,1`` means; ``NoSuch`` when there is none."""
    from wlmctl.experiment import parse_task_selector

    template, label = parse_task_selector(text)
    return experiments.tasks_named(db, row, template, None if label is None else f"{template}[{label}]")


def experiment_folder(
    config: Config, db: Database, id_prefix: str, role: str, pool: ConnectionPool | None = None
) -> tuple[Machine, str]:
    """The machine of an experiment's role, and the folder that the experiment's relative paths lie under there.

    Asks the machine for its scratch folder where that is needed. ``NoSuch`` for an unknown experiment or role,
    ``UsageError`` for a role that is not bound yet or lies on another host.
    """
    row = experiments.find(db, id_prefix)
    machine = config.machine(machine_of_role(db, row, role))
    if machine.name == LOCAL:
        refuse_other_host(db, row)
        if row.local_on is None:
            return machine, row.folder
    return machine, f"{scratch_folder(config, machine, pool)}/{row.id}"


def private_folder(
    config: Config, db: Database, row: ExperimentRow, task: str, place: str, attempt: int, pool: ConnectionPool
) -> str:
    """The absolute folder of one attempt's logs on the machine it was on."""
    from wlmctl.worker import places

    machine = machine_at(config, place)
    if machine.name == LOCAL:
        refuse_other_host(db, row)
    return places.private_folder(scratch_folder(config, machine, pool), row.id, task, attempt)


def scratch_folder(config: Config, machine: Machine, pool: ConnectionPool | None = None) -> str:
    """The machine's scratch folder, absolute; asks the machine."""
    from wlmctl.runtime.reach import connections
    from wlmctl.worker.places import resolve_scratch

    if pool is None:
        with connections(config) as own:
            return scratch_folder(config, machine, own)
    with pool.lease(machine) as transport:
        return resolve_scratch(machine, transport)


def machine_of_role(db: Database, row: ExperimentRow, role: str) -> str:
    """The inventory's name for a role; a role with ``each`` is named with its value, as ``compute[1]``."""
    if role == LOCAL:  # what is kept for it says which host it is
        return LOCAL
    roles: Mapping[str, Any] = {each["name"]: each for each in experiments.document(db, row.seq).get("roles") or ()}
    bindings = experiments.bindings(db, row.seq)
    if role in bindings:
        return bindings[role]
    plain = role.partition("[")[0]
    if plain not in roles:
        if plain != role:
            raise NoSuch(f"experiment {row.id} has no role {role!r}")
        return role
    declared = roles[plain]
    if declared["machine"] is not None:
        return str(declared["machine"])
    several = sorted(name for name in bindings if name.startswith(f"{plain}["))
    if several and plain == role:
        raise UsageError(f"experiment {row.id}: role {role} has several machines: name one, such as {several[0]}")
    hint = did_you_mean(role, several)
    raise UsageError(f"experiment {row.id}: role {role} is not bound to a machine{f' ({hint})' if hint else ' yet'}")


def machine_at(config: Config, place: str) -> Machine:
    """The machine of a place: a fleet's ``local@HOST`` is the ``local`` of that host."""
    return config.machine(LOCAL if place.startswith(f"{LOCAL}@") else place)


def host_of_local(db: Database, row: ExperimentRow) -> tuple[str, str] | None:
    """The id and the name of the host that ``local`` is for the experiment; None: a worker is yet to be found."""
    if row.local_on is None:
        return row.host, row.host_name
    bound = experiments.bindings(db, row.seq).get(LOCAL)
    if bound is None:
        return None
    host = bound.rpartition("@")[2]
    names = (worker.details["host_name"] for worker in workers.rows(db) if worker.details["host"] == host)
    return host, next(names, host)


def refuse_other_host(db: Database, row: ExperimentRow) -> None:
    """Raise ``UsageError`` where the experiment's ``local`` is not this host."""
    found = host_of_local(db, row)
    if found is None:
        raise UsageError(f"experiment {row.id}: its local part lies nowhere yet: no worker is on {row.local_on}")
    if found[0] != host_id():
        raise UsageError(f"experiment {row.id}: its local part lies on {found[1]}: use wlmctl there")
