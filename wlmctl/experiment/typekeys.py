"""The keys of a task type, as JSON Schema: what the type says itself, or else what its spec's dataclass says."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from wlmctl.task import Describes, TaskType


def known_keys(kind: TaskType) -> Collection[str] | None:
    """The names of the type's own keys, None where the type says nothing of them."""
    described = type_schema(kind)
    if described is None or described.get("additionalProperties", False) is not False:
        return None
    properties = described.get("properties")
    return list(properties) if isinstance(properties, Mapping) else None


def type_schema(kind: TaskType) -> Mapping[str, Any] | None:
    """The JSON Schema of the type's own keys: its ``schema()``, else from the dataclass that ``parse`` returns."""
    if isinstance(kind, Describes):
        return kind.schema()
    try:
        spec = typing.get_type_hints(kind.parse).get("return")
    except (NameError, TypeError):
        return None
    if not isinstance(spec, type) or not dataclasses.is_dataclass(spec):
        return None
    return _dataclass_schema(spec)


def _dataclass_schema(spec: type) -> dict[str, Any]:
    hints = typing.get_type_hints(spec)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for each in dataclasses.fields(spec):
        # A key that is a word of Python, such as ``from``, is written ``from_`` there.
        name = str(each.metadata.get("key", each.name.removesuffix("_")))
        properties[name] = each.metadata.get("schema") or _of_hint(hints[each.name])
        if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def _of_hint(hint: Any) -> dict[str, Any]:
    """The schema of a value of that type; of a type that says nothing in JSON, anything."""
    plain = {str: "string", Path: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
    if hint in plain:
        return {"type": plain[hint]}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_of_hint(each) for each in arguments]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return {**_dataclass_schema(hint), "additionalProperties": False}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of_hint(arguments[1])}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return {"type": "array", "items": _of_hint(arguments[0])}
    return {}
