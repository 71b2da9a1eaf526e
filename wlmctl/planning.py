"""The contract of planning: what a task type may tell of a task before a run (optional protocols)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from wlmctl.batch import BatchJob
    from wlmctl.machine import Machine
    from wlmctl.task_context import JobContext
    from wlmctl.transport import Transport


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that ``plan`` found out. ``machine`` is the role it is about.

    ``level``: ``ok``; ``note``, what only the run will show; ``problem``, what would make the task fail. ``figures``
    are plain JSON values (``files``, ``size_bytes``, ``reused``).
    """

    what: str
    text: str
    level: Literal["ok", "note", "problem"] = "ok"
    machine: str | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)


class PlanContext(Protocol):
    """What ``Plans.plan`` may use. Nothing may be written anywhere; the experiment's folders do not exist yet."""

    def machine(self, role: str) -> Machine:
        """The machine the role is, or would be, bound to."""
        ...

    def transport(self, role: str) -> AbstractContextManager[Transport]:
        """A pooled connection to the role's machine."""
        ...

    def folder(self, role: str) -> str:
        """The absolute folder that relative paths of the experiment will lie under, on the role's machine."""
        ...

    def scratch(self, role: str) -> str:
        """The absolute scratch folder of the role's machine."""
        ...

    def contents(self, name: str) -> bytes:
        """The content of a file that was read, by the name that ``Carries.files`` gave it."""
        ...

    def earlier(self, role: str) -> Sequence[str]:
        """The tasks that end before this one and touch the role's machine: they may make what is missing there."""
        ...


@runtime_checkable
class PlansJobs(Protocol):
    """A task type that submits a job, and can tell before a run which."""

    def parse(self, mapping: Mapping[str, Any], folder: Path) -> Any:
        """As ``TaskType`` has it."""
        ...

    def batch_job(self, spec: Any, context: JobContext, transport: Transport) -> BatchJob:
        """The job that would be handed to the batch system; ``TaskFailed`` for one that cannot be. Writes nothing."""
        ...


@runtime_checkable
class Plans(Protocol):
    """A task type that can tell before a run what it would do, and what is in its way."""

    def plan(self, spec: Any, context: PlanContext) -> Sequence[Finding]:
        """What was found on the machines; ``Unreachable`` where one does not answer. Writes nothing."""
        ...
