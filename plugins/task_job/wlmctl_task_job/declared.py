"""What a job says of its outputs: in which file a value lies, how it is found there, and of which type it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wlmctl.errors import SpecError
from wlmctl.spec import check_keys, checked_text, found, has_placeholder
from wlmctl_task_job.jsonpath import JsonPath
from wlmctl_task_job.types import TYPES

_FORMS = "{file: PATH} (its text), with json: $.a.b, or regex: 'energy = (\\S+)', and as: TYPE"
_PATH = "a path such as $.energy or $.runs[0].energy"

SCHEMA: Any = {
    "type": "object",
    "properties": {
        "file": {"description": "a file that the job writes", "type": "string", "minLength": 1},
        "text": {"description": "the whole text, which is what is taken without json and regex", "const": True},
        "json": {"description": _PATH, "type": "string", "minLength": 1},
        "regex": {"description": "its first group, where it matches last", "type": "string", "minLength": 1},
        "as": {"description": "of which type the value must be", "enum": list(TYPES)},
    },
    "required": ["file"],
    "not": {"anyOf": [{"required": pair} for pair in (["text", "json"], ["text", "regex"], ["json", "regex"])]},
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Output:
    """A value for later tasks: what lies at ``json``, or what ``regex`` finds, in ``file``; else its text, stripped.

    ``type`` is one of ``TYPES``; None: a value of JSON has its own, all else is a string.
    """

    file: str
    json: str | None = None
    regex: str | None = None
    type: str | None = None

    def in_handle(self, path: str) -> dict[str, str]:
        """As the handle of a job carries it; ``path`` is absolute."""
        rest = {"json": self.json, "regex": self.regex, "as": self.type}
        return {"file": path, **{name: value for name, value in rest.items() if value is not None}}

    @classmethod
    def from_handle(cls, value: Mapping[str, str]) -> Output:
        """What ``in_handle`` made."""
        return cls(value["file"], value.get("json"), value.get("regex"), value.get("as"))


def parse_output(key: str, value: Any) -> Output:
    """One entry under ``outputs``; ``SpecError`` for what does not fit."""
    where = f"outputs.{key}"
    if not isinstance(value, Mapping):
        raise SpecError(where, f"found {found(value)}", _FORMS)
    check_keys(value, ("file", "text", "json", "regex", "as"), where)
    if "file" not in value:
        raise SpecError(f"{where}.file", "is missing", "the path of a file that the job writes")
    ways = [name for name in ("text", "json", "regex") if name in value]
    if len(ways) > 1:
        raise SpecError(f"{where}.{ways[1]}", f"found beside {ways[0]}", "one of text, json and regex")
    if value.get("text", True) is not True:
        raise SpecError(f"{where}.text", f"found {found(value['text'])}", "true, or no text key")
    return Output(
        _text(f"{where}.file", value["file"]),
        _json_path(f"{where}.json", value["json"]) if "json" in value else None,
        _regex(f"{where}.regex", value["regex"]) if "regex" in value else None,
        _type(f"{where}.as", value["as"]) if "as" in value else None,
    )


def _json_path(key: str, value: Any) -> str:
    path = _text(key, value)
    if not has_placeholder(path) and JsonPath.parse(path) is None:
        raise SpecError(key, f"found {found(path)}", _PATH)
    return path


def _regex(key: str, value: Any) -> str:
    pattern = _text(key, value)
    if has_placeholder(pattern):
        return pattern
    try:
        re.compile(pattern, re.MULTILINE)
    except (re.error, OverflowError, RecursionError) as error:
        raise SpecError(key, f"found {found(pattern)}", f"a regular expression of Python ({error})") from None
    return pattern


def _type(key: str, value: Any) -> str:
    if value not in TYPES and not (isinstance(value, str) and has_placeholder(value)):
        raise SpecError(key, f"found {found(value)}", f"one of {', '.join(TYPES)}")
    return str(value)


def _text(key: str, value: Any) -> str:
    if value == "":
        raise SpecError(key, "is empty", "text")
    return checked_text(value, key, "text")
