"""The keys of the file besides ``tasks``: name, priority, start, params, roles and the like."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from wlmctl.experiment.common import integer, labels
from wlmctl.experiment.fields import Fields, described, one_of
from wlmctl.experiment.mistakes import quoted
from wlmctl.experiment.model import PRIORITIES, Schedule
from wlmctl.experiment.names import NAME_FORM, is_name
from wlmctl.experiment.scalars import is_null
from wlmctl.experiment.schedule import read_schedule
from wlmctl.experiment.values import why_unusable
from wlmctl.experiment.yamltree import Scalar
from wlmctl.quantities import parse_duration
from wlmctl.suggest import did_you_mean

KEYS = (
    "name", "project", "labels", "priority", "start", "deadline", "max_running", "on_failure", "params", "machines",
    "clean", "schedule", "tasks",
)  # fmt: skip
RESERVED = ("pack",)
ON_FAILURE = ("continue", "stop")
CLEAN = ("never", "succeeded", "always")
PROJECT_FORM = "a name: 1-100 letters, digits and _ . @ / -"

START_FORM = 'a time with its offset such as 2027-01-10T02:00:00Z, or "+2h"'
AFTER_START = 'a duration after each start such as "+2h", since this file makes a series'
_PROJECT = re.compile(r"[A-Za-z0-9_.@/-]{1,100}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?([Zz]|[+-]\d{2}:\d{2})?", re.ASCII)


@dataclass(slots=True)
class Header:
    """What the file says of the experiment as a whole, as far as it was right."""

    name: str = ""
    project: str | None = None
    labels: tuple[str, ...] = ()
    priority: int = 4
    start: str | None = None
    start_after_s: float | None = None
    deadline: str | None = None
    deadline_after_s: float | None = None
    max_running: int | None = None
    on_failure: Literal["continue", "stop"] = "continue"
    clean: Literal["never", "succeeded", "always"] = "never"
    params: dict[str, str | None] = field(default_factory=dict)
    schedule: Schedule | None = None


def read_header(fields: Fields, name: str | None, more_labels: Collection[str], params: Mapping[str, str]) -> Header:
    """The header of the file, with what was given on the command line; mistakes are noted."""
    fields.check_names(KEYS, RESERVED)
    header = Header(name=_name(fields, name))
    header.project = fields.checked("project", _project, None)
    header.labels = (*fields.checked("labels", labels, ()), *_given_labels(fields, more_labels))
    header.labels = tuple(dict.fromkeys(header.labels))
    header.priority = fields.checked("priority", priority, 4)
    header.max_running = fields.checked("max_running", integer(1), None)
    header.on_failure = fields.checked("on_failure", one_of(ON_FAILURE), "continue")
    header.clean = fields.checked("clean", one_of(CLEAN), "never")
    header.start, header.start_after_s = _moment(fields, "start")
    header.schedule = read_schedule(fields)
    _deadline(fields, header)
    header.params = _params(fields, params)
    return header


def priority(value: Any) -> int:
    """A level's name or 0-9 as its number; ``ValueError`` says what is expected."""
    if isinstance(value, str) and value in PRIORITIES:
        return PRIORITIES[value]
    if isinstance(value, str) and len(value) == 1 and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 9:
        return value
    raise ValueError(f"{', '.join(PRIORITIES)}, or 0 to 9 (9 goes first)")


def _name(fields: Fields, given: str | None) -> str:
    if given is not None:
        if not is_name(given):
            fields.mistakes.add(None, "--name", f"found {quoted(given)}", NAME_FORM)
        return given
    node = fields.get("name")
    if node is None:
        fields.mistakes.add(fields.line("name"), "name", "is missing", NAME_FORM, "add name: or give --name")
        return ""
    if not isinstance(node, Scalar) or not is_name(node.text):
        fields.wrong("name", f"found {described(node)}", NAME_FORM)
        return ""
    return node.text


def _project(value: Any) -> str:
    if not isinstance(value, str) or not _PROJECT.fullmatch(value):
        raise ValueError(PROJECT_FORM)
    return value


def _given_labels(fields: Fields, given: Collection[str]) -> tuple[str, ...]:
    try:
        return labels(list(given))
    except ValueError:
        bad = next(label for label in given if not label.isprintable() or label != label.strip() or not label)
        fields.mistakes.add(None, "--label", f"found {quoted(bad)}", "a text without control characters")
        return ()


def _deadline(fields: Fields, header: Header) -> None:
    header.deadline, header.deadline_after_s = _moment(fields, "deadline")
    if header.deadline is not None and header.schedule is not None:
        fields.wrong("deadline", f"found {header.deadline}", AFTER_START)
    elif header.deadline is not None and header.start is not None and _is_before(header.deadline, header.start):
        fields.wrong("deadline", f"found {header.deadline}", f"a time after the start, {header.start}")


def _is_before(time: str, other: str) -> bool:
    return datetime.fromisoformat(time) <= datetime.fromisoformat(other)


def _moment(fields: Fields, name: str) -> tuple[str | None, float | None]:
    """The time under ``name``, or the seconds after another one."""
    node = fields.get(name)
    if node is None:
        return None, None
    text = node.text if isinstance(node, Scalar) else ""
    if text.startswith("+"):
        try:
            return None, parse_duration(text[1:])
        except ValueError:
            fields.wrong(name, f"found {quoted(text)}", START_FORM)
        return None, None
    match = _TIME.fullmatch(text)
    if match is not None and match[3] is None:
        fields.wrong(name, f"{quoted(text)} has no offset", START_FORM, f"write {text}Z for UTC")
        return None, None
    try:
        time = datetime.fromisoformat(text.upper() if match else "")
        return time.astimezone(UTC).isoformat().replace("+00:00", "Z"), None
    except (ValueError, OverflowError):
        fields.wrong(name, f"found {described(node)}", START_FORM)
        return None, None


def _params(fields: Fields, given: Mapping[str, str]) -> dict[str, str | None]:
    block = fields.mapping("params", "a mapping such as {samples: 100}")
    params = {} if block is None else _written_params(block, given)
    for name, value in given.items():
        if name not in params:
            expected = f"one of {', '.join(params)}" if params else "no param, since this file has none"
            hint = did_you_mean(name[:60], params)
            fields.mistakes.add(None, f"--param {quoted(name)[1:-1]}", "no such param in this file", expected, hint)
        elif (bad := why_unusable(value)) is not None:
            fields.mistakes.add(None, f"--param {name}", f"holds {bad}", "text without it")
    return params


def _written_params(block: Fields, given: Mapping[str, str]) -> dict[str, str | None]:
    params: dict[str, str | None] = {}
    for name, node in block:
        if not is_name(name):
            block.wrong(name, "found this name", NAME_FORM)
            continue
        params[name] = given.get(name)
        if not isinstance(node, Scalar):
            block.wrong(name, f"found {node.kind}", "a single value")
        elif name in given:
            continue
        elif node.is_plain and is_null(node.text):
            block.wrong(name, "has no value", "one from the command line", f"give --param {name}=VALUE")
        else:
            params[name] = node.text
    return params
