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
    """A task context: all that a worker needs to execute a dispatch, and no secret.

    ``careful``: the worker says that it has started, and waits for the confirm, before it does anything, since this
    dispatch may be what kills workers. ``alone``: nothing else executes in the worker meanwhile.
    """

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
    priority: int = 0
    careful: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class StopMessage:
    """Stop executing these dispatches, and do not begin with them."""

    kind: ClassVar[str] = "stop"
    keys: Sequence[TaskKey]


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
    """End these deferred tasks of one machine, and prove it; each is answered as soon as it is known."""

    kind: ClassVar[str] = "end"
    machine: Machine
    deferrals: Sequence[Deferral]


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
class MarkMessage:
    """A number that a worker repeats in its heartbeats once it has taken all that was delivered before it."""

    kind: ClassVar[str] = "mark"
    number: int


@dataclass(frozen=True, slots=True)
class DrainMessage:
    """Take nothing new, hand back what has not begun, finish the rest, and end."""

    kind: ClassVar[str] = "drain"


@dataclass(frozen=True, slots=True)
class AskMessage:
    """A worker wants a permit for one connection to a login or, with ``per_minute``, for one command on it.

    ``token`` is the worker's own random name of the permit: asked again, it is the same permit.
    """

    kind: ClassVar[str] = "ask"
    worker: str
    token: str
    login: str
    limit: int = 0
    per_minute: int = 0


@dataclass(frozen=True, slots=True)
class GrantMessage:
    """These permits are granted."""

    kind: ClassVar[str] = "grant"
    tokens: Sequence[str]


@dataclass(frozen=True, slots=True)
class PermitsBackMessage:
    """These permits are given back, or wanted no longer."""

    kind: ClassVar[str] = "permits_back"
    worker: str
    tokens: Sequence[str]


@dataclass(frozen=True, slots=True)
class CloseIdleMessage:
    """Others wait for permits of this login: close idle connections to it now."""

    kind: ClassVar[str] = "close_idle"
    login: str


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker is and can do. ``machines`` are globs of names; ``host`` and ``user`` say which ``local`` it is."""

    name: str
    host: str
    host_name: str
    user: str
    boot: str
    pid: int
    start_time: str
    slots: int
    types: tuple[str, ...]
    labels: tuple[str, ...] = ()
    machines: tuple[str, ...] = ("*",)
    schemas: tuple[int, ...] = (1,)
    version: str = ""
    heartbeat_s: float = 1.0


@dataclass(frozen=True, slots=True)
class HeartbeatMessage:
    """A worker is alive, and has these dispatches: each until its result is confirmed.

    ``held`` have not begun, ``started`` have, ``leased`` have begun and are acked already (their step is long).
    ``mark`` is the newest number that came with its deliveries on this connection, 0 for none yet. ``permits`` are
    the tokens it holds. Travels behind the results on the same channel.
    """

    kind: ClassVar[str] = "heartbeat"
    worker: str
    info: WorkerInfo
    number: int
    mark: int = 0
    is_draining: bool = False
    held: Sequence[TaskKey] = ()
    started: Sequence[TaskKey] = ()
    leased: Sequence[TaskKey] = ()
    permits: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class HeldMessage:
    """A step takes long: the worker keeps the dispatch under a lease from now on, and acks it."""

    kind: ClassVar[str] = "held"
    worker: str
    key: TaskKey
    nonce: str


@dataclass(frozen=True, slots=True)
class ReturnedMessage:
    """A worker has handed a dispatch back without beginning with it.

    ``reason``: ``redelivered`` (another worker may have begun with it: a hint), ``busy`` (no slot came free in time) or
    ``draining``.
    """

    kind: ClassVar[str] = "returned"
    worker: str
    key: TaskKey
    nonce: str
    reason: str


@dataclass(frozen=True, slots=True)
class GoodbyeMessage:
    """A worker ends in order: it has handed back or finished all that it had."""

    kind: ClassVar[str] = "goodbye"
    worker: str
    reason: str = ""


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
    """The outcome of one dispatch; counts only with the dispatch's own nonce. ``took_s``: how long it executed."""

    kind: ClassVar[str] = "result"
    worker: str
    key: TaskKey
    nonce: str
    execution: str
    outcome: Outcome
    took_s: float = 0.0


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
    | MarkMessage
    | DrainMessage
    | AskMessage
    | GrantMessage
    | PermitsBackMessage
    | CloseIdleMessage
    | HeartbeatMessage
    | HeldMessage
    | ReturnedMessage
    | GoodbyeMessage
)
