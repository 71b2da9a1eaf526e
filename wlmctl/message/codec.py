"""Messages between orchestrator and workers: frozen dataclasses and structures, as JSON with a schema version.

Bytes travel as base64. What comes often leaves out what has its default, so that defaults are a part of the schema.
A message with a path or text that is not UTF-8 is marked ``escaped``, and such texts travel as ``{"b64": ...}``.
Unknown versions and kinds, what is of the wrong shape, nested deeper than anybody may need, or holds a number that no
store can hold, are refused with ``UndecodableMessage``; nothing is guessed at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Any

import msgspec
from msgspec.structs import replace

from wlmctl.errors import WlmctlError
from wlmctl.machine import Machine
from wlmctl.message.depth import DEEPEST, is_deep
from wlmctl.message.escaping import escaped, unescaped
from wlmctl.message.kinds import Message
from wlmctl.message.orders import (
    CleanMessage,
    CloseIdleMessage,
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
    AskMessage,
    CleanedMessage,
    ClosedMessage,
    GoodbyeMessage,
    HeartbeatMessage,
    HeldMessage,
    PermitsBackMessage,
    PollAnswerMessage,
    ProbeAnswerMessage,
    ResultMessage,
    ReturnedMessage,
    StartedMessage,
)
from wlmctl.message.words import Outcome, TaskKey

#: The version of the messages that this wlmctl writes and reads.
SCHEMA = 1


class UndecodableMessage(WlmctlError):
    """A body that is no message of a known version: it goes to the dead letters with this reason."""


_KINDS: dict[str, type[Any]] = {
    kind.kind: kind
    for kind in (
        TaskMessage, StopMessage, PollMessage, EndMessage, ProbeMessage, CleanMessage, ResultMessage,
        PollAnswerMessage, StartedMessage, ProbeAnswerMessage, CleanedMessage, MarkMessage, DrainMessage, AskMessage,
        GrantMessage, PermitsBackMessage, CloseIdleMessage, HeartbeatMessage, HeldMessage, ReturnedMessage,
        GoodbyeMessage, ClosedMessage,
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
_OUTCOMES = msgspec.json.Decoder(Outcome)
#: At most so deep an outcome, or the handle that came with one, lies in messages and in what carries them.
AROUND = 8
_HEADS = {kind: f'{{"schema":{SCHEMA},"kind":"{kind}",'.encode() for kind in _KINDS}
_HEAD = msgspec.json.Decoder(_Head)
#: The defaults of a machine's fields.
_DEFAULTS = {
    entry.name: entry.default_factory() if entry.default_factory is not MISSING else entry.default
    for entry in fields(Machine)
}
#: The machines that were encoded last, and how.
_briefs: tuple[Mapping[str, Machine], dict[str, msgspec.Raw]] = ({}, {})
_DECODERS = {kind: msgspec.json.Decoder(message) for kind, message in _KINDS.items()}


class _Task(TaskMessage, frozen=True):
    """A task context whose machines are not read yet."""

    machines: msgspec.Raw  # type: ignore[assignment]


_TASK = msgspec.json.Decoder(_Task)
_VALUES, _AT = attrgetter(*TaskMessage.__struct_fields__), TaskMessage.__struct_fields__.index("machines")
_MACHINES = msgspec.json.Decoder(dict[str, Machine])


def encode(message: Message) -> bytes:
    """The message as the body of a delivery."""
    try:
        body = _ENCODER.encode(message if not isinstance(message, TaskMessage) else _brief(message))
        return _HEADS[message.kind] + body[1:] if body != b"{}" else _HEADS[message.kind][:-1] + body[1:]
    except UnicodeEncodeError:  # texts that are not UTF-8 are rare: they take the long way
        plain = {"schema": SCHEMA, "kind": message.kind, "escaped": True, **escaped(message)}
        return json.dumps(plain, separators=(",", ":")).encode()


def check(outcome: Outcome) -> None:
    """Raise ``UndecodableMessage`` where no message with this could be read: plugins make most of what is in it."""
    try:
        try:
            body = _ENCODER.encode(outcome)
            _OUTCOMES.decode(body)
        except UnicodeEncodeError:  # as in ``encode``
            body = encode(ResultMessage("any", TaskKey(0, 0, 0, 0), "", "", outcome))
            decode(body)
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise UndecodableMessage(f"it cannot travel in a message: {error}") from error
    if is_deep(b"[" * AROUND + body + b"]" * AROUND):
        raise UndecodableMessage(f"it cannot travel in a message: nested deeper than {DEEPEST - AROUND}")


def _brief(message: TaskMessage) -> TaskMessage:
    """The same with what its machines are beside the defaults; most messages in a row have the same machines."""
    global _briefs
    machines, briefs = _briefs
    if message.machines is not machines:
        briefs = {name: _different(machine) for name, machine in message.machines.items()}
        _briefs = message.machines, briefs
    return replace(message, machines=briefs)


def _different(machine: Machine) -> msgspec.Raw:
    values = ((name, getattr(machine, name)) for name in _DEFAULTS)
    return msgspec.Raw(_ENCODER.encode({name: value for name, value in values if value != _DEFAULTS[name]}))


def _task(body: bytes) -> TaskMessage:
    values = _VALUES(_TASK.decode(body))
    values = (*values[:_AT], _machines(bytes(values[_AT])), *values[_AT + 1 :])
    return TaskMessage(*values)


@lru_cache(maxsize=64)
def _machines(encoded: bytes) -> dict[str, Machine]:
    """Machines as most messages in a row have them: to read them takes as long as all the rest."""
    return _MACHINES.decode(encoded)


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
        if head.escaped:
            message: Message = unescaped(_KINDS[head.kind], body)
        elif head.kind == TaskMessage.kind:
            message = _task(body)
        else:
            message = _DECODERS[head.kind].decode(body)
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise UndecodableMessage(f"a {head.kind} message of the wrong shape: {error}") from error
    return message
