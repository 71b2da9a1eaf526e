"""What orchestrator and workers tell one another: frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from wlmctl.machine import Machine
from wlmctl.task import Resources


@dataclass(frozen=True, slots=True)
class TaskKey:
    """One dispatch of one attempt of one task."""

    exp: int
    idx: int
    attempt: int
    dispatch: int


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """A task context: all that a worker needs to execute a dispatch, and no secret."""

    kind: ClassVar[str] = "task"
    key: TaskKey
    nonce: str
    token: str
    experiment: str
    task: str
    type: str
    text: Mapping[str, Any]
    roles: Mapping[str, str]
    machines: Mapping[str, Machine]
    folder: str
    resources: Resources
    devices: tuple[int, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    cancel: bool = False


@dataclass(frozen=True, slots=True)
class StopMessage:
    """Stop executing this dispatch."""

    kind: ClassVar[str] = "stop"
    key: TaskKey


@dataclass(frozen=True, slots=True)
class Deferral:
    """One deferred task of a poll: how to ask for it, and from where new output is wanted (-1: not wanted)."""

    key: TaskKey
    type: str
    handle: Mapping[str, Any]
    stdout_offset: int = -1
    stderr_offset: int = -1


@dataclass(frozen=True, slots=True)
class PollMessage:
    """How do these deferred tasks of one machine stand? The answer carries the same number."""

    kind: ClassVar[str] = "poll"
    machine: Machine
    number: int
    wait_s: float
    deferrals: Sequence[Deferral]


@dataclass(frozen=True, slots=True)
class EndMessage:
    """End this deferred task, and prove it."""

    kind: ClassVar[str] = "end"
    machine: Machine
    deferral: Deferral


@dataclass(frozen=True, slots=True)
class ProbeMessage:
    """Does this machine answer, and what does it have?"""

    kind: ClassVar[str] = "probe"
    machine: Machine


@dataclass(frozen=True, slots=True)
class CleanMessage:
    """Remove the experiment's folder on this machine."""

    kind: ClassVar[str] = "clean"
    machine: Machine
    exp: int
    experiment: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an execution, a deferred task or its cancel.

    ``what``: done, failed, cancelled (proven not to run), deferred, running, unknown, unreachable, declined.
    """

    what: str
    reason: str = ""
    failure_class: str = ""
    exit_code: int | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None
    handle: Mapping[str, Any] | None = None
    started: bool = True
    watched: bool = False
    machine: str = ""
    stdout: bytes = b""
    stderr: bytes = b""


@dataclass(frozen=True, slots=True)
class ResultMessage:
    """The outcome of one dispatch; counts only with the dispatch's own nonce."""

    kind: ClassVar[str] = "result"
    worker: str
    key: TaskKey
    nonce: str
    execution: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """How one deferred task stands."""

    key: TaskKey
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class PollAnswerMessage:
    """The answer to a poll (its number), to an end, or an end that was seen as an event (number 0)."""

    kind: ClassVar[str] = "answer"
    worker: str
    machine: str
    number: int
    answers: Sequence[Answer]
    ending: bool = False


@dataclass(frozen=True, slots=True)
class StartedMessage:
    """A worker has begun to execute a dispatch."""

    kind: ClassVar[str] = "started"
    worker: str
    key: TaskKey
    nonce: str


@dataclass(frozen=True, slots=True)
class ProbeAnswerMessage:
    """What a probe found. ``reason`` is empty when the machine answers."""

    kind: ClassVar[str] = "probed"
    worker: str
    machine: str
    reason: str
    cpus: int | None = None
    memory_bytes: int | None = None
    gpus: int | None = None


@dataclass(frozen=True, slots=True)
class CleanedMessage:
    """The experiment's folder on the machine is gone, or why not."""

    kind: ClassVar[str] = "cleaned"
    worker: str
    machine: str
    exp: int
    reason: str


Message = (
    TaskMessage
    | StopMessage
    | PollMessage
    | EndMessage
    | ProbeMessage
    | CleanMessage
    | ResultMessage
    | PollAnswerMessage
    | StartedMessage
    | ProbeAnswerMessage
    | CleanedMessage
)
