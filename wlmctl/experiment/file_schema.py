"""The JSON Schema of the experiment file: what can be said without looking at several keys together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wlmctl.experiment.common import FAILURE_CLASSES, MOST, RETRY_CLASSES
from wlmctl.experiment.header import CLEAN, ON_FAILURE
from wlmctl.experiment.model import PRIORITIES
from wlmctl.experiment.names import NAME_PATTERN
from wlmctl.experiment.raising import FACTOR_PATTERN
from wlmctl.experiment.schedule import OVERLAP
from wlmctl.experiment.typekeys import type_schema
from wlmctl.quantities import DURATION_PATTERN, SIZE_PATTERN
from wlmctl.task import TaskType

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_NAME = {"type": "string", "pattern": f"^{NAME_PATTERN}$"}
_SCALAR = {"type": ["string", "number", "boolean", "null"]}
_LABELS = {"type": "array", "items": {"type": "string", "pattern": r"^\S(.*\S)?$"}}
_VALUE = r"\$\{"
_OFFSET_TIME = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?([Zz]|[+-]\d{2}:\d{2})$"


def schema(task_types: Mapping[str, TaskType] | None = None) -> dict[str, Any]:
    """The schema (2020-12), with the own keys of the task types given; values are those of the core schema."""
    types = task_types or {}
    definitions = {f"task_{name}": _task_of_type(name, kind) for name, kind in sorted(types.items())}
    return {
        "$schema": DIALECT,
        "title": "wlmctl experiment file",
        "type": "object",
        "required": ["name", "tasks"],
        "additionalProperties": False,
        "properties": _header(),
        "$defs": {
            "duration": {
                "description": "90s, 10m, 2h, 1d, 1-12:00:00 or a number of seconds",
                "anyOf": [
                    {"type": "number", "minimum": 0},
                    {"type": "string", "pattern": f"{DURATION_PATTERN}|{_VALUE}"},
                ],
            },
            "size": {
                "description": "512MiB, 2GB or a number of bytes",
                "anyOf": [
                    {"type": "integer", "minimum": 0},
                    {"type": "string", "pattern": f"{SIZE_PATTERN}|{_VALUE}"},
                ],
            },
            "task": _task(list(types)),
            **definitions,
        },
    }


def _header() -> dict[str, Any]:
    return {
        "name": {**_NAME, "description": "the first part of the experiment's id"},
        "project": {"type": "string", "pattern": "^[A-Za-z0-9_.@/-]{1,100}$"},
        "labels": _LABELS,
        "priority": {"anyOf": [{"enum": list(PRIORITIES)}, {"type": "integer", "minimum": 0, "maximum": 9}]},
        "start": {
            "description": "a time with its offset, or +2h",
            "type": "string",
            "pattern": f"{_OFFSET_TIME}|^\\+{DURATION_PATTERN[1:]}",
        },
        "deadline": {
            "description": "a time with its offset, or +2h after the start",
            "type": "string",
            "pattern": f"{_OFFSET_TIME}|^\\+{DURATION_PATTERN[1:]}",
        },
        "max_running": _integer(1),
        "on_failure": {"enum": list(ON_FAILURE)},
        "clean": {"enum": list(CLEAN)},
        "params": {
            "description": "null: must be given by --param",
            "type": "object",
            "propertyNames": _NAME,
            "additionalProperties": _SCALAR,
        },
        "machines": {
            "type": "object",
            "propertyNames": {"allOf": [_NAME, {"not": {"const": "local"}}]},
            "additionalProperties": {"anyOf": [{"type": "string", "minLength": 1}, _requirement()]},
        },
        "schedule": _schedule(),
        "tasks": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": _NAME,
            "additionalProperties": {"$ref": "#/$defs/task"},
        },
    }


def _schedule() -> dict[str, Any]:
    return {
        "description": "makes a series of experiments (wlmctl submit)",
        "type": "object",
        "required": ["cron"],
        "additionalProperties": False,
        "properties": {
            "cron": {
                "description": "minute hour day month weekday, or @daily and the like",
                "type": "string",
                "pattern": r"^\s*(@[A-Za-z]+|[0-9A-Za-z*/,#-]+(\s+[0-9A-Za-z*/,#-]+){4})\s*$",
            },
            "timezone": {"description": "UTC, Europe/Berlin", "type": "string", "minLength": 1},
            "catchup": {"type": "boolean"},
            "overlap": {"enum": list(OVERLAP)},
        },
    }


def _requirement() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["requires"],
        "additionalProperties": False,
        "properties": {
            "requires": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "labels": _LABELS,
                    "cpus": _integer(0),
                    "memory": {"$ref": "#/$defs/size"},
                    "gpus": _integer(0),
                },
            },
            "each": {**_NAME, "description": "the foreach key for each of whose values the role is bound"},
        },
    }


def _task(types: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": types}},
        "allOf": [
            {
                "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
                "then": {"$ref": f"#/$defs/task_{name}"},
            }
            for name in types
        ],
    }


def _task_of_type(name: str, kind: TaskType) -> dict[str, Any]:
    own = type_schema(kind)
    if own is None:
        return {"type": "object", "properties": {"type": {"const": name}, **_common_keys()}}
    return {
        "additionalProperties": False,
        **own,
        "type": "object",
        "properties": {"type": {"const": name}, **_common_keys(), **own.get("properties", {})},
        "required": ["type", *own.get("required", ())],
    }


def _common_keys() -> dict[str, Any]:
    need = rf"^{NAME_PATTERN}(\[[^\[\]]+\])?$"
    return {
        "needs": {
            "type": "array",
            "items": {
                "anyOf": [
                    {"type": "string", "pattern": need},
                    {
                        "type": "object",
                        "minProperties": 1,
                        "maxProperties": 1,
                        "propertyNames": {"pattern": need},
                        "additionalProperties": {"enum": ["succeeded", "ended"]},
                    },
                ]
            },
        },
        "foreach": _foreach(),
        "may_fail": {"type": "boolean"},
        "resources": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                **_resources(),
                "counters": {
                    "description": "what is taken of counters that all machines share, such as licences",
                    "type": "object",
                    "propertyNames": _NAME,
                    "additionalProperties": _integer(1),
                },
            },
        },
        "retry": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "limit": _integer(0),
                "delay": {"$ref": "#/$defs/duration"},
                "backoff": {"anyOf": [{"type": "number", "minimum": 1, "maximum": 1000}, {"type": "string"}]},
                "on": {"type": "array", "items": {"enum": list(RETRY_CLASSES)}},
                **{name: _raise(name) for name in FAILURE_CLASSES},
            },
        },
        "timeout": {"$ref": "#/$defs/duration"},
        "worker": {"type": "object", "additionalProperties": False, "properties": {"labels": _LABELS}},
    }


def _resources() -> dict[str, Any]:
    return {
        "cpus": _integer(1),
        "memory": {"$ref": "#/$defs/size"},
        "gpus": _integer(0),
        "nodes": _integer(1),
        "walltime": {"$ref": "#/$defs/duration"},
    }


def _raise(failure_class: str) -> dict[str, Any]:
    factor = {"description": "so many times what the failed attempt had", "type": "string", "pattern": FACTOR_PATTERN}
    return {
        "description": f"what the attempt after a failure of the class {failure_class} asks for",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "resources": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": False,
                "properties": {name: {"anyOf": [factor, form]} for name, form in _resources().items()},
            }
        },
    }


def _foreach() -> dict[str, Any]:
    return {
        "anyOf": [
            {
                "description": "keys that multiply in file order",
                "type": "object",
                "minProperties": 1,
                "propertyNames": _NAME,
                "additionalProperties": {
                    "anyOf": [
                        {"type": "string", "pattern": rf"^-?\d+\.\.-?\d+$|{_VALUE}"},
                        {"type": "array", "minItems": 1, "items": _SCALAR},
                    ]
                },
            },
            {
                "description": "the rows of a CSV file; its first row names the keys",
                "type": "object",
                "required": ["csv"],
                "additionalProperties": False,
                "properties": {"csv": {"type": "string"}},
            },
            {
                "description": "rows of values",
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "minProperties": 1,
                    "propertyNames": _NAME,
                    "additionalProperties": _SCALAR,
                },
            },
        ]
    }


def _integer(least: int) -> dict[str, Any]:
    """A whole number, or a text that becomes one."""
    number = {"type": "integer", "minimum": least, "maximum": MOST}
    return {"anyOf": [number, {"type": "string", "pattern": rf"^[0-9]{{1,7}}$|{_VALUE}"}]}
