"""Messages between orchestrator and workers: frozen dataclasses, as JSON with a schema version.

Bytes travel as base64. A message with a path or text that is not UTF-8 is marked ``escaped``, and such texts
travel as ``{"b64": ...}``. Unknown versions and kinds, what is of the wrong shape, nested deeper than anybody may
need, or holds a number that no store can hold, are refused with ``UndecodableMessage``; nothing is guessed at.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Annotated, Any

import msgspec

from wlmctl.errors import WlmctlError
from wlmctl.machine import Machine, Reference
from wlmctl.message.depth import DEEPEST, is_deep
from wlmctl.message.kinds import REPORTS, Message
from wlmctl.message.orders import (
    CleanMessage,
    CloseIdleMessage,
    Deferral,
    DrainMessage,
    EndMessage,
    GrantMessage,
    MarkMessage,
    PollMessage,
    ProbeMessage,
    StopMessage,
    TaskMessage,
)
from wlmctl.message.reports import (
    Answer,
    AskMessage,
    CleanedMessage,
    GoodbyeMessage,
    HeartbeatMessage,
    HeldMessage,
    PermitsBackMessage,
    PollAnswerMessage,
    ProbeAnswerMessage,
    ResultMessage,
    ReturnedMessage,
    StartedMessage,
    StepProgress,
    WorkerInfo,
)
from wlmctl.message.words import Outcome, TaskKey
from wlmctl.task import Resources
from wlmctl.text import utf8

#: The version of the messages that this wlmctl writes and reads.
SCHEMA = 1


class UndecodableMessage(WlmctlError):
    """A body that is no message of a known version: it goes to the dead letters with this reason."""


#: The keys of the wrappers for what JSON cannot say: bytes, and keys that are not UTF-8.
_MARKS = frozenset({"b64", "items"})

_KINDS: dict[str, type[Any]] = {
    kind.kind: kind
    for kind in (
        TaskMessage, StopMessage, PollMessage, EndMessage, ProbeMessage, CleanMessage, ResultMessage,
        PollAnswerMessage, StartedMessage, ProbeAnswerMessage, CleanedMessage, MarkMessage, DrainMessage, AskMessage,
        GrantMessage, PermitsBackMessage, CloseIdleMessage, HeartbeatMessage, HeldMessage, ReturnedMessage,
        GoodbyeMessage,
    )
}  # fmt: skip


class _Head(msgspec.Struct):
    """What every body begins with."""

    schema: int
    kind: str
    escaped: bool = False


#: The most messages of a bundle; workers send at most 500.
LARGEST_BUNDLE = 10_000


class _Bundle(msgspec.Struct):
    """Messages that travel together."""

    messages: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=LARGEST_BUNDLE)]


_BUNDLE = f'{{"schema":{SCHEMA},"kind":"bundle","messages":['.encode()
_BUNDLES = msgspec.json.Decoder(_Bundle)
_ENCODER = msgspec.json.Encoder()
_HEADS = {kind: f'{{"schema":{SCHEMA},"kind":"{kind}",'.encode() for kind in _KINDS}
_HEAD = msgspec.json.Decoder(_Head)
_DECODERS = {kind: msgspec.json.Decoder(message) for kind, message in _KINDS.items()}


def encode(message: Message) -> bytes:
    """The message as the body of a delivery."""
    try:
        body = _ENCODER.encode(message)
        return _HEADS[message.kind] + body[1:] if body != b"{}" else _HEADS[message.kind][:-1] + body[1:]
    except UnicodeEncodeError:  # texts that are not UTF-8 are rare: they take the long way
        plain = {"schema": SCHEMA, "kind": message.kind, "escaped": True}
        plain |= {entry.name: _escape(_plain(getattr(message, entry.name))) for entry in fields(message)}
        return json.dumps(plain, separators=(",", ":")).encode()


def bundle(bodies: Sequence[bytes]) -> bytes:
    """Several encoded messages as one body, in order; one alone stays as it is."""
    return bodies[0] if len(bodies) == 1 else _BUNDLE + b",".join(bodies) + b"]}"


def unbundle(body: bytes) -> list[bytes]:
    """The bodies that a body holds; ``UndecodableMessage`` for a broken bundle. What is no bundle is its own."""
    if not body.startswith(_BUNDLE):
        return [body]
    try:
        return [bytes(raw) for raw in _BUNDLES.decode(body).messages]
    except (ValueError, RecursionError) as error:
        raise UndecodableMessage(f"no bundle: {error}") from error


def decode(body: bytes) -> Message:
    """The message of a body; ``UndecodableMessage`` says what is wrong with it."""
    if is_deep(body):
        raise UndecodableMessage(f"nested deeper than {DEEPEST}")
    try:
        head = _HEAD.decode(body)
    except (ValueError, RecursionError) as error:
        raise UndecodableMessage(f"no message: {error}") from error
    if head.schema != SCHEMA:
        raise UndecodableMessage(f"schema {head.schema}, this wlmctl reads {SCHEMA}")
    if head.kind not in _KINDS:
        raise UndecodableMessage(f"unknown kind {head.kind!r}")
    try:
        message: Message = _unescaped(head.kind, body) if head.escaped else _DECODERS[head.kind].decode(body)
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise UndecodableMessage(f"a {head.kind} message of the wrong shape: {error}") from error
    return message


def _unescaped(kind: str, body: bytes) -> Any:
    plain = json.loads(body, object_hook=_unwrap, parse_float=_finite)
    for name in ("schema", "kind", "escaped"):
        del plain[name]
    built = _build(_KINDS[kind], plain)
    plain = msgspec.to_builtins(built, builtin_types=(bytes,))
    if kind in REPORTS:
        plain = _readable(plain)
    checked = msgspec.convert(plain, _KINDS[kind], builtin_types=(bytes,))  # the types, as the short way checks them
    return checked if kind in REPORTS else built


def _readable(value: Any) -> Any:
    r"""What a leader is told, for a store, which holds only UTF-8: other bytes stand as ``\xNN``, except in handles."""
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, dict):
        return {utf8(key): item if key == "handle" else _readable(item) for key, item in value.items()}
    return [_readable(item) for item in value] if isinstance(value, (list, tuple)) else value


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"a number out of range: {text[:20]}")
    return number


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
        try:
            raw = value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # half a character of UTF-16, as JSON may have it
            raw = value.encode("utf-8", "surrogatepass")
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


def _answer(value: dict[str, Any]) -> Answer:
    return Answer(_key(value["key"]), _outcome(value["outcome"]), _text(value.get("nonce", "")))


def _progress(value: dict[str, Any]) -> StepProgress:
    return StepProgress(key=_key(value.pop("key")), **_text(value))


def _info(value: dict[str, Any]) -> WorkerInfo:
    built: dict[str, Any] = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
    return WorkerInfo(**built)


#: How a field of a message is built back from plain JSON, by its name.
_FIELDS: dict[str, Any] = {
    "key": _key,
    "keys": lambda value: [_key(item) for item in value],
    "held": lambda value: [_key(item) for item in value],
    "started": lambda value: [_key(item) for item in value],
    "leased": lambda value: [_key(item) for item in value],
    "progress": lambda value: [_progress(item) for item in value],
    "info": lambda value: _info(_text(value)),
    "outcome": _outcome,
    "machines": lambda value: {name: _machine(item) for name, item in value.items()},
    "machine": lambda value: _machine(value) if isinstance(value, dict) else _text(value),
    "deferrals": lambda value: [_deferral(item) for item in value],
    "answers": lambda value: [_answer(item) for item in value],
    "resources": lambda value: Resources(**value),
    "files": lambda value: {name: _bytes(item) for name, item in value.items()},
    "devices": tuple,
}


def _build(kind: type[Any], plain: dict[str, Any]) -> Any:
    return kind(**{name: _FIELDS.get(name, _text)(value) for name, value in plain.items()})
