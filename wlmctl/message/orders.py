"""What a leader tells workers: frozen dataclasses, and a structure, made more quickly, for task contexts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from wlmctl.machine import Machine
from wlmctl.message.words import Int64, Seconds, TaskKey
from wlmctl.task import Resources


class TaskMessage(msgspec.Struct, frozen=True, omit_defaults=True):
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
    devices: tuple[Int64, ...] = ()
    files: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    cancel: bool = False
    priority: Int64 = 0
    careful: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class StopMessage:
    """Stop executing these dispatches, and do not begin with them."""

    kind: ClassVar[str] = "stop"
    keys: Sequence[TaskKey]


@dataclass(frozen=True, slots=True)
class Deferral:
    """One deferred task of a poll: how to ask for it, and from where new output is wanted (-1: not wanted).

    The answer repeats the ``nonce`` of its dispatch.
    """

    key: TaskKey
    type: str
    handle: Mapping[str, Any]
    stdout_offset: Int64 = -1
    stderr_offset: Int64 = -1
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class PollMessage:
    """How do these deferred tasks of one machine stand? The answer carries the same number."""

    kind: ClassVar[str] = "poll"
    machine: Machine
    number: Int64
    wait_s: Seconds
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
    exp: Int64
    experiment: str


@dataclass(frozen=True, slots=True)
class MarkMessage:
    """A number that a worker repeats in its heartbeats once it has taken all that was delivered before it."""

    kind: ClassVar[str] = "mark"
    number: Int64


@dataclass(frozen=True, slots=True)
class DrainMessage:
    """Take nothing new, hand back what has not begun, finish the rest, and end."""

    kind: ClassVar[str] = "drain"


@dataclass(frozen=True, slots=True)
class GrantMessage:
    """These permits are granted. ``sharing``: how many permits there are now of names that divide a bandwidth."""

    kind: ClassVar[str] = "grant"
    tokens: Sequence[str]
    sharing: Mapping[str, Int64] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CloseIdleMessage:
    """Others wait for permits of this login: close idle connections to it now."""

    kind: ClassVar[str] = "close_idle"
    login: str
