"""What lies unused in a machine's scratch folder: temporary files of ended executions, old environments and content."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from wlmctl.clean_folder import top_names
from wlmctl.errors import NotFound
from wlmctl.machine import Machine
from wlmctl.states import TaskState
from wlmctl.store.database import Database
from wlmctl.transfer.pattern import TEMPORARY
from wlmctl.transport import FileInfo, Transport
from wlmctl.worker.places import resolve_scratch

#: An experiment that this store does not know may be another user's: its temporary files go after this time.
STRANGER_S = 86400.0

#: What the task type ``environment`` keeps in an environment's folder: it is whole; when it was last asked for.
_MARKER, _USED = ".wlmctl-complete", ".wlmctl-used"
_LOCK = ".lock"

_UNDER_WAY = (TaskState.ASSIGNED, TaskState.RUNNING, TaskState.DEFERRED, TaskState.CANCELLING)


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that nobody uses. ``kind`` is ``temporary``, ``environment`` or ``cache``; ``path`` is absolute."""

    kind: str
    path: str
    size_bytes: int
    age_s: float


def leftovers(
    machine: Machine, transport: Transport, db: Database | None, *, older_s: float, now_s: float
) -> list[Leftover]:
    """Everything in the machine's scratch folder that may go; environments and the cache if unused for ``older_s``."""
    scratch = resolve_scratch(machine, transport)
    if transport.stat(scratch, follow=True) is None:
        return []
    return [
        *_temporaries(transport, scratch, db, now_s),
        *_environments(transport, scratch, db, older_s, now_s),
        *_cached(transport, scratch, older_s, now_s),
    ]


def remove(transport: Transport, leftover: Leftover) -> None:
    """Remove it; of an environment the mark that it is whole goes first."""
    if leftover.kind == "environment":
        transport.remove(posixpath.join(leftover.path, _MARKER))
    transport.remove(leftover.path)


def _temporaries(transport: Transport, scratch: str, db: Database | None, now_s: float) -> Iterator[Leftover]:
    found: list[FileInfo] = []
    for info in transport.walk(scratch):
        inside_found = found and info.path.startswith(f"{found[-1].path}/")
        in_environment = info.path.startswith("environments/")
        if not inside_found and not in_environment and TEMPORARY.fullmatch(posixpath.basename(info.path)):
            found.append(info)
    # Asked only now: what was under way while the files were listed, and is not any more, has ended.
    busy: dict[str, bool | None] = {}
    for info in found:
        identifier = info.path.partition("/")[0]
        if identifier not in busy:
            busy[identifier] = _is_busy(db, identifier)
        age_s = max(now_s - info.mtime_s, 0.0)
        if busy[identifier] is False or (busy[identifier] is None and age_s > STRANGER_S):
            path = f"{scratch}/{info.path}"
            yield Leftover("temporary", path, _size(transport, path, info), age_s)


def _is_busy(db: Database | None, identifier: str) -> bool | None:
    """Whether the experiment has a task under way; None for one that this store does not know."""
    row = db.row("SELECT seq, ended FROM experiments WHERE id = ?", (identifier,)) if db is not None else None
    if row is None or db is None:
        return None
    marks = ", ".join("?" * len(_UNDER_WAY))
    sql = f"SELECT 1 FROM tasks WHERE exp = ? AND state IN ({marks}) LIMIT 1"
    return row[1] is None and db.row(sql, (row[0], *(state.value for state in _UNDER_WAY))) is not None


def _environments(
    transport: Transport, scratch: str, db: Database | None, older_s: float, now_s: float
) -> Iterator[Leftover]:
    folder = f"{scratch}/environments"
    try:
        names = top_names(transport, folder)
    except NotFound:
        return
    locked = {name.removesuffix(_LOCK) for name in names if name.endswith(_LOCK)}
    wanted = _wanted(db)
    for name in names:
        path = f"{folder}/{name}"
        info = transport.stat(path)
        if info is None or info.kind != "directory" or name.endswith(_LOCK) or name in locked or path in wanted:
            continue
        used = transport.stat(f"{path}/{_USED}") or transport.stat(f"{path}/{_MARKER}") or info
        age_s = max(now_s - used.mtime_s, 0.0)
        if age_s > older_s:
            yield Leftover("environment", path, _size(transport, path, info), age_s)


def _cached(transport: Transport, scratch: str, older_s: float, now_s: float) -> Iterator[Leftover]:
    """Content that staging keeps; its mtime is when it was last given out."""
    try:
        entries = list(transport.walk(f"{scratch}/cache"))
    except NotFound:
        return
    for info in entries:
        age_s = max(now_s - info.mtime_s, 0.0)
        if info.kind == "file" and age_s > older_s and not TEMPORARY.fullmatch(info.path):
            yield Leftover("cache", f"{scratch}/cache/{info.path}", info.size_bytes, age_s)


def _wanted(db: Database | None) -> frozenset[str]:
    """Folders of tasks whose experiments have not ended."""
    if db is None:
        return frozenset()
    rows = db.rows(
        "SELECT DISTINCT tasks.folder FROM tasks JOIN experiments ON tasks.exp = experiments.seq"
        " WHERE experiments.ended IS NULL AND tasks.folder IS NOT NULL"
    )
    return frozenset(row[0] for row in rows)


def _size(transport: Transport, path: str, info: FileInfo) -> int:
    if info.kind != "directory":
        return info.size_bytes
    return sum(below.size_bytes for below in transport.walk(path) if below.kind == "file")
