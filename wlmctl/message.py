"""Messages between orchestrator and workers: frozen dataclasses, as JSON with a schema version.

A path or text that is not UTF-8, and bytes, travel as ``{"b64": ...}``. Unknown versions, kinds and fields are
refused with ``UndecodableMessage``; nothing is guessed at.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from wlmctl.errors import WlmctlError
from wlmctl.machine import Machine, Reference
from wlmctl.task import Resources

SCHEMA = 1


class UndecodableMessage(WlmctlError):
    """A body that is no message of a known version: it goes to the dead letters with this reason."""


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
    devices: Sequence[int] = ()
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

#: The keys of the wrappers for what JSON cannot say: bytes, and keys that are not UTF-8.
_MARKS = frozenset({"b64", "items"})

_KINDS: dict[str, type[Any]] = {
    kind.kind: kind
    for kind in (
        TaskMessage, StopMessage, PollMessage, EndMessage, ProbeMessage, CleanMessage, ResultMessage,
        PollAnswerMessage, StartedMessage, ProbeAnswerMessage, CleanedMessage,
    )
}  # fmt: skip


def encode(message: Message) -> bytes:
    """The message as the body of a delivery."""
    plain = {"schema": SCHEMA, "kind": message.kind}
    for entry in fields(message):
        plain[entry.name] = _plain(getattr(message, entry.name))
    try:
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(_escape(plain), separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode("ascii")} if value else ""
    if isinstance(value, Mapping):
        plain = {key: _plain(item) for key, item in value.items()}
        if len(plain) == 1 and not _MARKS.isdisjoint(plain):  # a user's own key that looks like one of our marks
            return {"items": [[key, item] for key, item in plain.items()]}
        return plain
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return {entry.name: _plain(getattr(value, entry.name)) for entry in fields(value)}


def _escape(value: Any) -> Any:
    """Texts with bytes that are not UTF-8 (``surrogateescape``) as ``{"b64": ...}``, keys of mappings included."""
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogateescape")
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(raw).decode("ascii")}
        return value
    if isinstance(value, dict):
        if any(not _is_utf8(key) for key in value):  # JSON has no keys but texts
            return {"items": [[_escape(key), _escape(item)] for key, item in value.items()]}
        return {key: _escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escape(item) for item in value]
    return value


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def decode(body: bytes) -> Message:
    """The message of a body; ``UndecodableMessage`` says what is wrong with it."""
    try:
        plain = json.loads(body, object_hook=_unwrap)
    except (ValueError, RecursionError) as error:
        raise UndecodableMessage(f"no JSON: {error}") from error
    if not isinstance(plain, dict):
        raise UndecodableMessage("no JSON object")
    schema, kind = plain.pop("schema", None), plain.pop("kind", None)
    if schema != SCHEMA:
        raise UndecodableMessage(f"schema {schema!r}, this wlmctl reads {SCHEMA}")
    if kind not in _KINDS:
        raise UndecodableMessage(f"unknown kind {kind!r}")
    try:
        message: Message = _build(_KINDS[kind], plain)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise UndecodableMessage(f"a {kind} message of the wrong shape: {error}") from error
    return message


def _unwrap(value: dict[str, Any]) -> Any:
    if len(value) == 1:
        if "b64" in value:
            return base64.b64decode(value["b64"], validate=True)
        if "items" in value and isinstance(value["items"], list):
            return {_text(key): item for key, item in value["items"]}
    return value


def _text(value: Any) -> Any:
    """Bytes back to ``surrogateescape`` text, in a value that holds only text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, dict):
        return {key: _text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_text(item) for item in value]
    return value


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _machine(value: dict[str, Any]) -> Machine:
    value = _text(value)
    if value.get("passphrase"):
        value["passphrase"] = Reference(**value["passphrase"])
    value["labels"] = tuple(value["labels"])
    return Machine(**value)


def _key(value: dict[str, Any]) -> TaskKey:
    return TaskKey(value["exp"], value["idx"], value["attempt"], value["dispatch"])


def _outcome(value: dict[str, Any]) -> Outcome:
    stdout, stderr = _bytes(value.pop("stdout", b"")), _bytes(value.pop("stderr", b""))
    return Outcome(**_text(value), stdout=stdout, stderr=stderr)


def _deferral(value: dict[str, Any]) -> Deferral:
    return Deferral(key=_key(value.pop("key")), **_text(value))


#: How a field of a message is built back from plain JSON, by its name.
_FIELDS: dict[str, Any] = {
    "key": _key,
    "outcome": _outcome,
    "machines": lambda value: {name: _machine(item) for name, item in value.items()},
    "machine": lambda value: _machine(value) if isinstance(value, dict) else _text(value),
    "deferral": _deferral,
    "deferrals": lambda value: [_deferral(item) for item in value],
    "answers": lambda value: [Answer(_key(item["key"]), _outcome(item["outcome"])) for item in value],
    "resources": lambda value: Resources(**value),
    "files": lambda value: {name: _bytes(item) for name, item in value.items()},
    "devices": tuple,
}


def _build(kind: type[Any], plain: dict[str, Any]) -> Any:
    return kind(**{name: _FIELDS.get(name, _text)(value) for name, value in plain.items()})


def machine_document(machine: Machine) -> dict[str, Any]:
    """A machine as plain JSON, for the store."""
    return asdict(machine)
