"""What the text of a job says, checked."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wlmctl.errors import SpecError
from wlmctl.spec import check_keys, checked_text, found
from wlmctl_task_job.declared import SCHEMA as OUTPUT_SCHEMA
from wlmctl_task_job.declared import Output, parse_output

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_OUTPUT_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,39}\Z")
_KEYS = ("machine", "directory", "command", "env", "batch", "outputs", "pack")
#: So many instances at most share one job of a queue.
PACK_MOST = 1000
_COMMAND = "a text or a list of words"
_TEXT: Any = {"type": ["string", "number"]}


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job's own keys. ``command`` is shell text or a list of words, ``env`` plain values, never secrets.

    ``pack``: so many instances may share one job of a queue, one after the other.
    """

    command: str | tuple[str, ...] = field(
        metadata={
            "schema": {"oneOf": [{"type": "string", "minLength": 1}, {"type": "array", "minItems": 1, "items": _TEXT}]}
        }
    )
    machine: str = "local"
    directory: str = ""
    env: Mapping[str, str] = field(
        default_factory=dict,
        metadata={
            "schema": {
                "type": "object",
                "propertyNames": {"pattern": "^(?!WLMCTL_)[A-Za-z_][A-Za-z0-9_]*$"},
                "additionalProperties": _TEXT,
            }
        },
    )
    batch: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict,
        metadata={"schema": {"type": "object", "additionalProperties": {"type": "object"}}},
    )
    outputs: Mapping[str, Output] = field(
        default_factory=dict,
        metadata={
            "schema": {
                "type": "object",
                "propertyNames": {"pattern": "^[A-Za-z0-9_][A-Za-z0-9_-]{0,39}$"},
                "additionalProperties": OUTPUT_SCHEMA,
            }
        },
    )

    pack: int = field(default=1, metadata={"schema": {"type": "integer", "minimum": 1, "maximum": PACK_MOST}})

    @property
    def script(self) -> str:
        """The command as shell text; words are quoted."""
        return self.command if isinstance(self.command, str) else shlex.join(self.command)


def parse_job(mapping: Mapping[str, Any]) -> JobSpec:
    """The spec, or ``SpecError`` for the first key that does not fit."""
    check_keys(mapping, _KEYS)
    if "command" not in mapping:
        raise SpecError("command", "is missing", _COMMAND)
    return JobSpec(
        command=_command(mapping["command"]),
        machine=_text("machine", mapping.get("machine", "local"), "the name of a role"),
        directory=_text("directory", mapping["directory"], "the path of a folder") if "directory" in mapping else "",
        env={_env_name(name): _scalar(f"env.{name}", value) for name, value in _table("env", mapping).items()},
        batch=_batch(_table("batch", mapping)),
        outputs={_output_key(key): parse_output(key, value) for key, value in _table("outputs", mapping).items()},
        pack=_pack(mapping.get("pack", 1)),
    )


def _pack(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= PACK_MOST:
        expected = f"how many instances may share one job of a queue, 1 to {PACK_MOST}"
        raise SpecError("pack", f"found {found(value)}", expected)
    return value


def _command(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, str):
        if not value.strip():
            raise SpecError("command", "is empty", _COMMAND)
        return checked_text(value, "command", _COMMAND)
    if not isinstance(value, list | tuple):
        raise SpecError("command", f"found {found(value)}", _COMMAND)
    if not value:
        raise SpecError("command", "is an empty list", _COMMAND)
    return tuple(_scalar(f"command[{position}]", word) for position, word in enumerate(value))


def _batch(systems: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    for name, options in systems.items():
        if not isinstance(options, Mapping):
            raise SpecError(f"batch.{name}", f"found {found(options)}", "a mapping of this batch system's options")
    return {name: dict(options) for name, options in systems.items()}


def _output_key(key: Any) -> str:
    if not isinstance(key, str) or not _OUTPUT_KEY.match(key):
        raise SpecError(f"outputs.{key}", f"found the key {found(key)}", "1-40 letters, digits, _ or -")
    return key


def _env_name(name: Any) -> str:
    if not isinstance(name, str) or not _ENV_NAME.match(name):
        raise SpecError(
            f"env.{name}", f"found the name {found(name)}", "letters, digits and _, not beginning with a digit"
        )
    if name.startswith("WLMCTL_"):
        raise SpecError(f"env.{name}", "found a name that begins with WLMCTL_", "another name: these are set by wlmctl")
    return name


def _table(key: str, mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    value = mapping.get(key, {})
    if not isinstance(value, Mapping):
        raise SpecError(key, f"found {found(value)}", "a mapping")
    return value


def _text(key: str, value: Any, expected: str = "text") -> str:
    if value == "":
        raise SpecError(key, "is empty", expected)
    return checked_text(value, key, expected)


def _scalar(key: str, value: Any) -> str:
    """A text, or a number as its digits; a boolean has too many spellings to guess one."""
    if isinstance(value, bool):
        raise SpecError(key, f"found {str(value).lower()}", "text", "put it in quotes")
    return checked_text(str(value) if isinstance(value, int | float) else value, key, "text")
