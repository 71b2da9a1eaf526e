"""The long way of a message with a text or path that is not UTF-8: such texts travel as ``{"b64": ...}``."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import msgspec

from wlmctl.machine import Machine, Reference
from wlmctl.message.kinds import REPORTS, Message
from wlmctl.message.orders import Deferral
from wlmctl.message.reports import Answer, StepProgress, WorkerInfo
from wlmctl.message.words import Outcome, TaskKey
from wlmctl.task import Resources
from wlmctl.text import utf8

#: The keys of the wrappers for what JSON cannot say: bytes, and keys that are not UTF-8.
_MARKS = frozenset({"b64", "items"})


def escaped(message: Message) -> dict[str, Any]:
    """The fields of a message, for JSON."""
    return {name: _escape(_plain(getattr(message, name))) for name in _names(message)}


def unescaped(kind: type[Any], body: bytes) -> Any:
    """The message of such a body; raises what is raised by a wrong shape."""
    plain = json.loads(body, object_hook=_unwrap, parse_float=_finite)
    for name in ("schema", "kind", "escaped"):
        del plain[name]
    built = _build(kind, plain)
    plain = msgspec.to_builtins(built, builtin_types=(bytes,))
    if kind.kind in REPORTS:
        plain = _readable(plain)
    checked = msgspec.convert(plain, kind, builtin_types=(bytes,))  # the types, as the short way checks them
    return checked if kind.kind in REPORTS else built


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
    if isinstance(value, float) and not math.isfinite(value):
        return None  # as on the short way: JSON has no such number
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
    return {name: _plain(getattr(value, name)) for name in _names(value)}


def _names(value: Any) -> Iterable[str]:
    return value.__struct_fields__ if isinstance(value, msgspec.Struct) else [entry.name for entry in fields(value)]


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
    value["labels"], value["logins"] = tuple(value["labels"]), tuple(value.get("logins", ()))
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
