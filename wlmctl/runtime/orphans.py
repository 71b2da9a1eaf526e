"""What wlmctl has left on a machine and no store speaks for: jobs that live, and folders of unknown experiments."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from wlmctl.batch import BatchSystem, FindsJobs, JobRef
from wlmctl.clean_folder import clean_folders, is_experiment, top_names
from wlmctl.connections import ConnectionPool
from wlmctl.errors import NotFound, WlmctlError
from wlmctl.machine import Machine
from wlmctl.machine_check import Check, failed
from wlmctl.plugins import batch_factory
from wlmctl.store.database import Database
from wlmctl.task import Done, Failed, Gone
from wlmctl.text import counted
from wlmctl.transport import Runs, Transport
from wlmctl.worker.places import resolve_scratch

#: How long one order to end a job waits for the proof.
CANCEL_WAIT_S = 5.0
#: What is said of a job whose end is proven.
CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Orphan:
    """A living job (``ref`` names it) or a folder of an experiment that the store does not know, or that has ended.

    ``path`` is the job's private folder, or the experiment's. ``done`` says what was done about it.
    """

    kind: str
    experiment: str
    path: str
    age_s: float
    ref: JobRef | None = None
    done: str = ""


def find(machine: Machine, transport: Transport, db: Database | None, *, now_s: float) -> list[Orphan]:
    """The jobs of ended or unknown experiments, then the folders of unknown ones."""
    scratch = resolve_scratch(machine, transport)
    known = _Known(db)
    jobs = [
        Orphan("job", experiment, folder, _age(transport, folder, now_s), ref)
        for folder, ref in _jobs(machine, transport)
        if (experiment := _experiment(folder, scratch)) is not None and not known.is_under_way(experiment)
    ]
    return [*jobs, *_folders(transport, scratch, known, now_s)]


def removed(machine: Machine, transport: Transport, orphan: Orphan, living: Collection[str]) -> Orphan:
    """Ask once for the end of a job, or remove a folder, unless jobs live that it alone tells of."""
    if orphan.ref is not None:
        return _cancel(machine, transport, orphan, orphan.ref)
    if orphan.experiment in living:
        return replace(orphan, done="left: its jobs live")
    clean_folders(transport, orphan.path)
    return replace(orphan, done="removed")


def _cancel(machine: Machine, transport: Transport, orphan: Orphan, ref: JobRef) -> Orphan:
    assert isinstance(transport, Runs)
    batch = _batch(machine)
    command = batch.cancel(ref, CANCEL_WAIT_S)
    completed = transport.run(command.text, command.stdin, command.timeout_s)
    is_over = isinstance(batch.cancelled(ref, completed), Gone | Done | Failed)
    return replace(orphan, done=CANCELLED if is_over else "told to end")


def check(machine: Machine, pool: ConnectionPool, db: Database, *, now_s: float) -> Check:
    """What ``machine test`` says of them: a note that counts what was left, and says how to see it."""
    try:
        with pool.lease(machine) as transport:
            found = find(machine, transport, db, now_s=now_s)
    except WlmctlError as error:
        return failed("orphans", machine, error)
    kinds = Counter(orphan.kind for orphan in found)
    if not found:
        return Check("orphans", "ok", "nothing is left that the store does not know")
    what = " and ".join(counted(count, kind) for kind, count in sorted(kinds.items(), reverse=True))
    names = dict.fromkeys(orphan.experiment for orphan in found)
    shown = ", ".join(list(names)[:3]) + (", ..." if len(names) > 3 else "")
    text = f"{what} that no experiment of the store speaks for: {shown}"
    return Check("orphans", "note", text, f"wlmctl orphans {machine.name}")


def _jobs(machine: Machine, transport: Transport) -> Iterator[tuple[str, JobRef]]:
    batch = _batch(machine)
    if isinstance(transport, Runs) and isinstance(batch, FindsJobs):
        command = batch.find()
        found: Mapping[str, JobRef] = batch.found(transport.run(command.text, command.stdin, command.timeout_s))
        yield from found.items()


def _batch(machine: Machine) -> BatchSystem:
    return batch_factory(machine.batch)(machine, machine.batch_options)


def _folders(transport: Transport, scratch: str, known: _Known, now_s: float) -> Iterator[Orphan]:
    try:
        names = top_names(transport, scratch)
    except NotFound:
        return
    for name in names:
        if is_experiment(name) and not known.is_known(name):
            path = f"{scratch}/{name}"
            yield Orphan("folder", name, path, _age(transport, path, now_s))


def _experiment(folder: str, scratch: str) -> str | None:
    """The experiment whose private folder this is, where it lies below the scratch folder."""
    if not folder.startswith(f"{scratch}/"):
        return None
    name = folder[len(scratch) + 1 :].partition("/")[0]
    return name if is_experiment(name) else None


def _age(transport: Transport, path: str, now_s: float) -> float:
    info = transport.stat(posixpath.normpath(path))
    return max(now_s - info.mtime_s, 0.0) if info is not None else 0.0


class _Known:
    """What the store says of experiments; each is asked for once."""

    def __init__(self, db: Database | None) -> None:
        self._db = db
        self._asked: dict[str, bool | None] = {}

    def is_known(self, experiment: str) -> bool:
        return self._ended(experiment) is not None

    def is_under_way(self, experiment: str) -> bool:
        return self._ended(experiment) is False

    def _ended(self, experiment: str) -> bool | None:
        """None: it is not in the store."""
        if self._db is None:
            return None
        if experiment not in self._asked:
            row = self._db.row("SELECT ended FROM experiments WHERE id = ?", (experiment,))
            self._asked[experiment] = None if row is None else row[0] is not None
        return self._asked[experiment]
