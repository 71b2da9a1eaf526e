"""What workers tell their leader: frozen dataclasses, and a structure, made more quickly, for results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import msgspec

from wlmctl.message.words import Int64, Outcome, QueueWord, Seconds, TaskKey


@dataclass(frozen=True, slots=True)
class AskMessage:
    """A worker wants a permit for one connection to a login or, with ``per_minute``, for one command on it.

    ``token`` is the worker's own random name of the permit: asked again, it is the same permit. Higher priorities are
    granted first. ``login`` may be what ``wlmctl.traffic`` makes of one: then it is a permit for transfers.
    """

    kind: ClassVar[str] = "ask"
    worker: QueueWord
    token: str
    login: str
    limit: Int64 = 0
    per_minute: Int64 = 0
    priority: Int64 = 0


@dataclass(frozen=True, slots=True)
class PermitsBackMessage:
    """These permits are given back, or wanted no longer."""

    kind: ClassVar[str] = "permits_back"
    worker: QueueWord
    tokens: Sequence[str]


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker is and can do. ``machines`` are globs of names; ``host`` and ``user`` say which ``local`` it is."""

    name: str
    host: str
    host_name: str
    user: str
    boot: str
    pid: Int64
    start_time: str
    slots: Annotated[int, msgspec.Meta(ge=0, le=100_000)]
    types: tuple[QueueWord, ...]
    labels: tuple[str, ...] = ()
    machines: tuple[str, ...] = ("*",)
    schemas: tuple[Int64, ...] = (1,)
    version: str = ""
    heartbeat_s: Seconds = 1.0


@dataclass(frozen=True, slots=True)
class StepProgress:
    """How far a step is. ``bytes_done`` and ``files_done`` count what was resumed, or skipped since it was there.

    ``left_s`` is None where it cannot be told.
    """

    key: TaskKey
    what: str = ""
    bytes_done: Int64 = 0
    bytes_total: Int64 = 0
    files_done: Int64 = 0
    files_total: Int64 = 0
    sent_bytes: Int64 = 0
    resumed_bytes: Int64 = 0
    skipped: Int64 = 0
    rate_bytes_s: float = 0.0
    left_s: float | None = None


@dataclass(frozen=True, slots=True)
class HeartbeatMessage:
    """A worker is alive, and has these dispatches: each until its result is confirmed.

    ``held`` have not begun, ``started`` have, ``leased`` have begun and are acked already (their step is long).
    ``mark`` is the newest number that came with its deliveries on this connection, 0 for none yet. ``permits`` are
    the tokens it holds, ``progress`` is how far those steps are that say so. Travels behind the results on the same
    channel.
    """

    kind: ClassVar[str] = "heartbeat"
    worker: QueueWord
    info: WorkerInfo
    number: Int64
    mark: Int64 = 0
    is_draining: bool = False
    held: Sequence[TaskKey] = ()
    started: Sequence[TaskKey] = ()
    leased: Sequence[TaskKey] = ()
    permits: Sequence[str] = ()
    progress: Sequence[StepProgress] = ()


@dataclass(frozen=True, slots=True)
class HeldMessage:
    """A step takes long: the worker keeps the dispatch under a lease from now on, and acks it."""

    kind: ClassVar[str] = "held"
    worker: QueueWord
    key: TaskKey
    nonce: str


@dataclass(frozen=True, slots=True)
class ReturnedMessage:
    """A worker has handed a dispatch back without beginning with it.

    ``reason``: ``redelivered`` (another worker may have begun with it: a hint), ``busy`` (no slot came free in time) or
    ``draining``.
    """

    kind: ClassVar[str] = "returned"
    worker: QueueWord
    key: TaskKey
    nonce: str
    reason: str


@dataclass(frozen=True, slots=True)
class GoodbyeMessage:
    """A worker ends in order: it has handed back or finished all that it had."""

    kind: ClassVar[str] = "goodbye"
    worker: QueueWord
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ClosedMessage:
    """The broker has closed a channel of the worker with 406, for this reason."""

    kind: ClassVar[str] = "closed"
    worker: QueueWord
    reason: str


class ResultMessage(msgspec.Struct, frozen=True):
    """The outcome of one dispatch; counts only with the dispatch's own nonce. ``took_s``: how long it executed."""

    kind: ClassVar[str] = "result"
    worker: QueueWord
    key: TaskKey
    nonce: str
    execution: str
    outcome: Outcome
    took_s: Seconds = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """How one deferred task stands; counts only with the nonce of its dispatch."""

    key: TaskKey
    outcome: Outcome
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class PollAnswerMessage:
    """The answer to a poll (its number), to an end, or an end that was seen as an event (number 0)."""

    kind: ClassVar[str] = "answer"
    worker: QueueWord
    machine: str
    number: Int64
    answers: Sequence[Answer]
    ending: bool = False


@dataclass(frozen=True, slots=True)
class StartedMessage:
    """A worker has begun to execute a dispatch."""

    kind: ClassVar[str] = "started"
    worker: QueueWord
    key: TaskKey
    nonce: str


@dataclass(frozen=True, slots=True)
class ProbeAnswerMessage:
    """What a probe found. ``reason`` is empty when the machine answers; ``refused``: it refuses the login."""

    kind: ClassVar[str] = "probed"
    worker: QueueWord
    machine: str
    reason: str
    cpus: Int64 | None = None
    memory_bytes: Int64 | None = None
    gpus: Int64 | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class CleanedMessage:
    """The experiment's folder on the machine is gone, or why not."""

    kind: ClassVar[str] = "cleaned"
    worker: QueueWord
    machine: str
    exp: Int64
    reason: str
