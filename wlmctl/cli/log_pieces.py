"""What one attempt printed: from the store, or whole from its machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wlmctl.errors import NoSuch

if TYPE_CHECKING:
    from wlmctl.config import Config
    from wlmctl.connections import ConnectionPool
    from wlmctl.store.database import Database
    from wlmctl.store.rows import ExperimentRow, TaskRow

STREAMS = ("stdout", "stderr")


@dataclass(frozen=True, slots=True)
class Piece:
    """One stream of one attempt of one task."""

    task: str
    attempt: int
    stream: str
    content: bytes

    def as_json(self) -> dict[str, Any]:
        """The piece as an object; bytes that are not UTF-8 as ``{"b64": ...}``."""
        return {"task": self.task, "attempt": self.attempt, "stream": self.stream, "text": text_of(self.content)}

    @property
    def title(self) -> str:
        """The line above it where several are shown."""
        return f"==> {self.task}, attempt {self.attempt}, {self.stream} <==\n"


def text_of(content: bytes) -> str | dict[str, str]:
    """Bytes for JSON: as text where they are UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        import base64

        return {"b64": base64.b64encode(content).decode("ascii")}


def kept(db: Database, tasks: Sequence[TaskRow], streams: Sequence[str], attempt: int | None) -> Iterator[Piece]:
    """What the store has of each task's last attempt that printed something, or of the given attempt."""
    from wlmctl.store import logs

    for task in tasks:
        wanted = attempt if attempt is not None else last_attempt(db, task)
        found = logs.get(db, task.exp, task.idx, wanted)
        for stream, content in zip(STREAMS, found or (), strict=False):
            if stream in streams and content:
                yield Piece(task.name, wanted, stream, content)


def last_attempt(db: Database, task: TaskRow) -> int:
    """The number of the newest attempt of which the store has something; else of the current one."""
    row = db.row("SELECT max(attempt) FROM logs WHERE exp = ? AND task = ?", (task.exp, task.idx))
    return row[0] if row[0] is not None else max(task.attempt, 1)


def whole(
    config: Config, db: Database, row: ExperimentRow, task: TaskRow, attempt: int | None, pool: ConnectionPool
) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    """(stream, attempt, chunks) for each stream that is not empty; ``NoSuch`` when its machine has no file of any."""
    from wlmctl.runtime.lookup import machine_at, private_folder

    wanted = attempt if attempt is not None else last_attempt(db, task)
    name = task.machine or _machine_of_attempt(db, task, wanted)
    if name is None:
        raise NoSuch(f"task {task.name} has not been on a machine yet: it has printed nothing")
    folder = private_folder(config, db, row, task.name, name, wanted, pool)
    found = 0
    with pool.lease(machine_at(config, name)) as transport:
        for stream in STREAMS:
            path = f"{folder}/{stream}"
            info = transport.stat(path, follow=True)
            if info is None:
                continue
            found += 1
            if info.size_bytes:
                yield stream, wanted, transport.read(path)
    if not found:
        raise NoSuch(f"machine {name} has no output of task {task.name}, attempt {wanted}, in {folder}")


def _machine_of_attempt(db: Database, task: TaskRow, attempt: int) -> str | None:
    """The machine that an earlier attempt was on, by the events."""
    from wlmctl.store.events import events

    machine, number = None, 1
    for event in events(db, task.exp, task=task.idx):
        number = event.values.get("attempt", number)
        if event.values.get("machine") and number <= attempt:
            machine = event.values["machine"]
    return machine
