"""What messages of both directions are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from wlmctl.task import FailureClass

#: A whole number that a store can hold.
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]

#: What may stand in the name of a queue: a worker's id, a task type.
QueueWord = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,150}\Z")]

_WHAT = "done|failed|cancelled|deferred|running|unknown|unreachable|declined"
_CLASS = "|".join(FailureClass)


class TaskKey(msgspec.Struct, frozen=True, gc=False):
    """One dispatch of one attempt of one task."""

    exp: Int64
    idx: Int64
    attempt: Int64
    dispatch: Int64


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of an execution, a deferred task or its cancel.

    ``what``: done, failed, cancelled (proven not to run), deferred, running, unknown, unreachable, declined.
    """

    what: Annotated[str, msgspec.Meta(pattern=f"^({_WHAT})\\Z")]
    reason: str = ""
    failure_class: Annotated[str, msgspec.Meta(pattern=f"^({_CLASS})?\\Z")] = ""
    exit_code: Int64 | None = None
    outputs: Mapping[str, str] = msgspec.field(default_factory=dict)
    folder: str | None = None
    handle: Mapping[str, Any] | None = None
    started: bool = True
    watched: bool = False
    machine: str = ""
    stdout: bytes = b""
    stderr: bytes = b""
    typed: Sequence[str] = ()
