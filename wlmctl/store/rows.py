"""Rows of the store as values."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

#: Begins the column ``folder`` of a folder whose name is not UTF-8; a folder begins with a slash.
_B64 = "b64:"


def folder_column(folder: str) -> str:
    """A folder as its column keeps it."""
    try:
        folder.encode("utf-8")
    except UnicodeEncodeError:
        import base64

        return _B64 + base64.b64encode(os.fsencode(folder)).decode("ascii")
    return folder


def folder_of_column(text: str) -> str:
    """The folder that its column keeps as ``text``."""
    if not text.startswith(_B64):
        return text
    import base64

    return os.fsdecode(base64.b64decode(text.removeprefix(_B64)))


@dataclass(slots=True)
class ExperimentRow:
    """One experiment as the store has it. Times are seconds since the epoch."""

    seq: int
    id: str
    name: str
    project: str | None
    user: str
    host: str
    host_name: str
    folder: str
    origin: str
    state: str
    priority: int
    labels: str
    submit_key: str | None
    content_digest: str
    task_count: int
    created: float
    start_due: float | None
    started: float | None
    ended: float | None
    reason: str | None
    stopping: int
    cleaned: int
    revision: int
    events: int
    local_on: str | None

    def __post_init__(self) -> None:
        """Bring back a folder whose name is not UTF-8."""
        self.folder = folder_of_column(self.folder)

    @property
    def label_list(self) -> list[str]:
        """The labels, in the order given."""
        labels: list[str] = json.loads(self.labels)
        return labels


@dataclass(slots=True)
class TaskRow:
    """One task as the store has it."""

    exp: int
    idx: int
    template: int
    position: int
    name: str
    type: str
    state: str
    attempt: int
    dispatch: int
    nonce: str | None
    published: int
    worker: str | None
    machine: str | None
    site: str | None
    cpus: int | None
    memory_bytes: int | None
    gpus: int | None
    devices: str | None
    handle: str | None
    outputs: str | None
    folder: str | None
    exit_code: int | None
    failure_class: str | None
    reason: str | None
    user_failures: int
    infra_failures: int
    due: float | None
    started: float | None
    ended: float | None
    sent: int | None
    kills: int
    counters: str | None
    asked: str | None
    careful: int

    @property
    def changed_resources(self) -> dict[str, Any]:
        """What the attempt asks for otherwise than the file says, by field of ``Resources``."""
        changed: dict[str, Any] = json.loads(self.asked) if self.asked else {}
        return changed


#: ``user`` alone would be the login at PostgreSQL.
EXPERIMENT_COLUMNS = ", ".join('"user"' if field.name == "user" else field.name for field in fields(ExperimentRow))
TASK_COLUMNS = ", ".join(field.name for field in fields(TaskRow))

#: The fields of a task that events carry, so that the state can be folded from them.
TASK_FIELDS: Sequence[str] = tuple(
    field.name for field in fields(TaskRow) if field.name not in ("exp", "idx", "template", "position", "name", "type")
)


@dataclass(slots=True)
class EventRow:
    """One line of the append-only log. ``task`` is the task's position in the experiment, or None."""

    exp: int
    n: int
    time: float
    task: int | None
    kind: str
    source: str | None
    target: str | None
    reason: str | None
    data: str | None

    @property
    def values(self) -> dict[str, Any]:
        """The fields that changed, or the figures of a note."""
        values: dict[str, Any] = json.loads(self.data) if self.data else {}
        return values


EVENT_COLUMNS = ", ".join(field.name for field in fields(EventRow))
