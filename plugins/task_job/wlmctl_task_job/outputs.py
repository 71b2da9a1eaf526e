"""The values that a job hands to later tasks, read from its files at its end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from wlmctl.errors import Denied, NotFound, TaskFailed
from wlmctl.text import shown
from wlmctl.transport import Transport
from wlmctl_task_job.jsonpath import JsonPath, NotThere

#: A value goes into the store and into messages: at most this much of it.
VALUE_BYTES = 64 * 1024
#: A JSON file from which a value is taken may be larger than the value, within reason.
JSON_BYTES = 16 * 1024 * 1024


def read_outputs(declared: Sequence[Sequence[Any]], transport: Transport) -> Mapping[str, str]:
    """The values by key; ``declared`` holds (key, absolute path, JSON path or None); ``TaskFailed`` says why not."""
    return {key: _read(key, path, json_path, transport) for key, path, json_path in declared}


def _read(key: str, path: str, json_path: str | None, transport: Transport) -> str:
    where = f"outputs.{key}: {shown(path)}"
    content = _content(where, path, VALUE_BYTES if json_path is None else JSON_BYTES, transport)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TaskFailed(f"{where}: is not UTF-8 text (byte {error.start})") from None
    value = text.strip() if json_path is None else _from_json(where, text, json_path)
    if "\0" in value:
        raise TaskFailed(f"{where}: the value holds a NUL character")
    if len(value.encode("utf-8", "surrogatepass")) > VALUE_BYTES:
        raise TaskFailed(f"{where}: the value is longer than {VALUE_BYTES} bytes")
    return value


def _content(where: str, path: str, limit_bytes: int, transport: Transport) -> bytes:
    found = bytearray()
    try:
        for chunk in transport.read(path):
            found += chunk
            if len(found) > limit_bytes:
                raise TaskFailed(f"{where}: is larger than {limit_bytes} bytes")
    except NotFound:
        raise TaskFailed(f"{where}: there is no such file; the job was expected to write it") from None
    except Denied as error:
        raise TaskFailed(f"{where}: cannot be read: {error}") from None
    return bytes(found)


def _from_json(where: str, text: str, json_path: str) -> str:
    path = JsonPath.parse(json_path)
    if path is None:
        raise TaskFailed(f"{where}: {json_path!r} is no path such as $.energy or $.runs[0].energy")
    try:
        # numbers stay the characters that the job wrote: 0.10 is not 0.1
        value = path.find(json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_Number))
    except NotThere as error:
        raise TaskFailed(f"{where}: nothing at {json_path}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise TaskFailed(f"{where}: is no JSON: {error}") from None
    return str(value) if isinstance(value, str) else _plain(value)


class _Number(str):
    """A number of a JSON text, as its characters."""

    __slots__ = ()


def _plain(value: Any) -> str:
    match value:
        case _Number():
            return str(value)
        case dict():
            return "{" + ",".join(f"{json.dumps(key)}:{_plain(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ",".join(map(_plain, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
