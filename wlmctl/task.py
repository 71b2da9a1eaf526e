"""The contract of a task type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from wlmctl.task_context import PollContext, TaskContext


class FailureClass(StrEnum):
    """Why an attempt failed; ``user``, ``time`` and ``memory`` count against ``retry.limit``."""

    USER = "user"
    TIME = "time"
    MEMORY = "memory"
    INFRA = "infra"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Resources:
    """What one attempt asks of its machine. A walltime of None is no limit."""

    cpus: int = 1
    memory_bytes: int = 0
    gpus: int = 0
    nodes: int = 1
    walltime_s: float | None = None


#: What a step that is no job takes of its machine.
NOTHING = Resources(cpus=0)


@dataclass(frozen=True, slots=True)
class Done:
    """The attempt succeeded. ``outputs`` are its values for ``${tasks.NAME.outputs.KEY}``.

    ``typed`` names those of them whose characters are JSON (a number, true, a list) and not a text.
    """

    outputs: Mapping[str, str] = field(default_factory=dict)
    exit_code: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    folder: str | None = None
    typed: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt ended without success. ``proven`` False: the end itself is not proven yet."""

    reason: str
    failure_class: FailureClass = FailureClass.USER
    exit_code: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""


@dataclass(frozen=True, slots=True)
class Gone:
    """The work is proven not to run, and not to start again under its token (an answer to ``cancel``)."""

    reason: str = ""
    stdout: bytes = b""
    stderr: bytes = b""


@dataclass(frozen=True, slots=True)
class Deferred:
    """The work goes on without a worker; ``handle`` (plain JSON values) is how to ask for it.

    Attempts that share one job of the machine's queue have the same text as ``handle["shares"]``.
    """

    handle: Mapping[str, Any]
    started: bool = True


@dataclass(frozen=True, slots=True)
class Running:
    """The deferred work has not ended. ``started`` False: it waits in the batch system's queue, for ``reason``."""

    started: bool = True
    stdout: bytes = b""
    stderr: bytes = b""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing can be said about the work now; it is asked again."""

    reason: str = ""


PollAnswer = Done | Failed | Gone | Running | Unknown


class TaskType(Protocol):
    """A kind of task. Delivery is at least once: ``execute`` compares, does the missing part, and converges.

    Failures are raised: ``TaskFailed``, a ``TransportError`` or ``Cancelled``.
    """

    def parse(self, mapping: Mapping[str, Any], folder: Path) -> Any:
        """The task's own keys as a frozen dataclass; ``SpecError`` for what does not fit.

        Called at submit, with run-time values as placeholders, and again when they are known. ``folder`` is
        the folder of the experiment file; files named in the text are checked, and not read again later.
        """
        ...

    def machines(self, spec: Any) -> Sequence[str]:
        """The names of all roles that the task touches; the first is where its main work is."""
        ...

    def execute(self, spec: Any, context: TaskContext) -> Done | Deferred:
        """Do the work, or start what goes on without a worker."""
        ...


@runtime_checkable
class Defers(Protocol):
    """A task type whose work can go on without a worker."""

    def poll(self, handles: Mapping[str, Mapping[str, Any]], context: PollContext) -> Mapping[str, PollAnswer]:
        """How all of these, on one machine, stand; may wait there for ``context.wait_s`` for a first end."""
        ...

    def cancel(self, handle: Mapping[str, Any], context: PollContext) -> PollAnswer:
        """End the work and prove it: ``Gone``, or ``Done``/``Failed`` when it had ended by itself before."""
        ...


@runtime_checkable
class Gathers(Protocol):
    """A deferring task type that can start many attempts on one machine together, for little more than one of them.

    It is asked only where the machine's batch system ``SubmitsMany``.
    """

    def execute_many(self, members: Sequence[tuple[Any, TaskContext]]) -> Sequence[Done | Deferred | Exception]:
        """For each spec and context what ``execute`` returns or raises; a fault of one is no fault of another.

        ``machines`` gives the same one machine for all of them.
        """
        ...

    def pack(self, spec: Any) -> int:
        """How many of such attempts may share one job of the machine's queue, 1 for none."""
        ...


@runtime_checkable
class HasOptions(Protocol):
    """A task type whose tasks have options for batch systems."""

    def batch_options(self, spec: Any) -> Mapping[str, Mapping[str, Any]]:
        """The options by the name of the batch system that they are for."""
        ...


@runtime_checkable
class Prepares(Protocol):
    """A deferring task type that can name the handle of an attempt before it has started."""

    def handle(self, spec: Any, context: TaskContext) -> Mapping[str, Any]:
        """The handle that ``execute`` gives for this attempt; starts nothing, so that a lost start can be ended."""
        ...


@runtime_checkable
class Watches(Protocol):
    """A deferring task type that can tell the end of work on this very host as an event."""

    def watch(self, handle: Mapping[str, Any]) -> int | None:
        """A file descriptor that becomes readable at the end (the caller closes it), or None: not here."""
        ...


class Moves(Protocol):
    """A task type that says True of itself here: its steps move data, may take long, and can be broken off anywhere.

    A worker with two slots or more keeps one free of them. A step that does not hear a cancel within half a second,
    since it waits for a machine, has its connections closed under it.
    """

    moves_data: bool


@runtime_checkable
class Describes(Protocol):
    """A task type that says itself what its own keys are; without it the spec's dataclass says so."""

    def schema(self) -> Mapping[str, Any]:
        """A JSON Schema (2020-12) of a mapping with the own keys: ``properties`` and ``required``."""
        ...


@runtime_checkable
class Carries(Protocol):
    """A task type that names local files to be read at submit, which travel with the experiment."""

    def files(self, spec: Any) -> Sequence[str]:
        """Paths of the files to read, relative to the folder of the experiment file."""
        ...
