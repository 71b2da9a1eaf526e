"""The keys that every task has, whatever its type: ``resources``, ``retry``, ``timeout``, ``worker``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from wlmctl.errors import SpecError
from wlmctl.experiment.model import Retry, Times
from wlmctl.experiment.names import NAME_FORM, is_name
from wlmctl.experiment.raising import factor_or
from wlmctl.quantities import DURATION_FORMS, parse_duration, parse_size
from wlmctl.spec import PLACEHOLDER_BEGIN, found
from wlmctl.suggest import did_you_mean
from wlmctl.task import Resources

KEYS = ("resources", "retry", "timeout", "worker")
RETRY_CLASSES = ("user", "time", "memory")
FAILURE_CLASSES = (*RETRY_CLASSES, "infra", "preempted")
MOST = 10**6

Check = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Common:
    """What the common keys of one instance say."""

    resources: Resources = field(default_factory=Resources)
    retry: Retry | None = None
    timeout_s: float | None = None
    worker_labels: tuple[str, ...] = ()
    counters: tuple[tuple[str, int], ...] = ()


def parse_common(mapping: Mapping[str, Any]) -> Common:
    """The common keys; a value that is not known before run time counts as not given. ``SpecError`` for a wrong one."""
    resources = _checked(mapping, "resources", _RESOURCES)
    retry = _retry(mapping)
    worker = _checked(mapping, "worker", {"labels": labels})
    timeout = mapping.get("timeout")
    taken = resources.pop("counters", ())
    return Common(
        Resources(**resources),
        retry,
        None if timeout is None or _is_unknown(timeout) else _value("timeout", timeout, duration),
        worker.get("labels", ()),
        taken,
    )


def _retry(mapping: Mapping[str, Any]) -> Retry | None:
    """What is said under ``retry``, or None; ``SpecError`` for a class of failures that says what can never be."""
    fields = _checked(mapping, "retry", _RETRY)
    if not fields:
        return None
    raises = {name: fields.pop(name) for name in FAILURE_CLASSES if name in fields}
    if raises.keys() & set(RETRY_CLASSES) and "limit" not in mapping["retry"]:
        fields["limit"] = 1
    retry = Retry(**fields, raises=raises)
    resources = mapping.get("resources", {})
    for name, asked in raises.items():
        if name in RETRY_CLASSES and name not in retry.on:
            expected = f"{name} under retry.on too: after such a failure there is no other attempt"
            raise SpecError(f"retry.{name}", f"on is {', '.join(retry.on) or 'empty'}", expected)
        for key, attribute in (("memory", "memory_bytes"), ("gpus", "gpus"), ("walltime", "walltime_s")):
            if isinstance(asked.get(attribute), Times) and key not in resources:
                expected = f"resources.{key}, of which this is a multiple"
                raise SpecError(f"retry.{name}.resources.{key}", "found a factor", expected)
    return retry


def _after(name: str, value: Any) -> dict[str, Any]:
    """What the attempt after a failure of the class ``name`` asks for, by field of ``Resources``."""
    key = f"retry.{name}"
    if not isinstance(value, Mapping):
        raise SpecError(key, f"found {found(value)}", "a mapping such as {resources: {memory: x2}}")
    for each in value:
        if each != "resources":
            raise SpecError(f"{key}.{each}", "unknown key", "resources", did_you_mean(each[:60], ("resources",)))
    if value.get("resources") == {}:
        raise SpecError(f"{key}.resources", "is empty", "what the next attempt asks for, as {memory: x2}")
    return _checked(value, "resources", _RAISED, f"{key}.")


def integer(least: int, most: int = MOST) -> Check:
    """A check for a whole number, also one written as a text, since a value that is put in is one."""

    def check(value: Any) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"a whole number of at least {least}" if most == MOST else f"{least} to {most}")
        return value

    return check


def duration(value: Any) -> float:
    """Seconds, more than none."""
    if not (seconds := parse_duration(value)):
        raise ValueError(f"more than 0: {DURATION_FORMS}")
    return seconds


class _WrongError(ValueError):
    """What was expected, where ``found`` says more than what kind of value is there."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(expected)
        self.found = found


def labels(value: Any) -> tuple[str, ...]:
    """A list of labels, each one text."""
    if not isinstance(value, list):
        raise ValueError('a list of texts such as [gpu, "site=a"]')
    for label in value:
        if not isinstance(label, str) or not label or not label.isprintable() or label != label.strip():
            raise _WrongError(found(label), "a text without control characters for each label")
    return tuple(value)


def counters(value: Any) -> tuple[tuple[str, int], ...]:
    """What is taken of each counter, by name in their order; an amount that is not known yet is left out."""
    if not isinstance(value, Mapping):
        raise ValueError("a mapping of counters and amounts such as {matlab: 1}")
    found = dict[str, int]()
    for name, amount in value.items():
        key = f"resources.counters.{name}"
        if not is_name(name) and not _is_unknown(name):
            raise SpecError(key, "found this name", NAME_FORM)
        if not _is_unknown(amount) and not _is_unknown(name):
            found[name] = _value(key, amount, integer(1))
    return tuple(sorted(found.items()))


def _backoff(value: Any) -> float:
    try:
        factor = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else 0.0
    except ValueError:
        factor = 0.0
    if not 1 <= factor <= 1000:
        raise ValueError("a number from 1 to 1000")
    return factor


def _classes(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("a list of user, time, memory")
    for each in value:
        if each not in RETRY_CLASSES:
            raise _WrongError(found(each), f"user, time or memory in the list{_maybe(each)}")
    return tuple(value)


def _maybe(word: Any) -> str:
    near = did_you_mean(word[:60], RETRY_CLASSES) if isinstance(word, str) else ""
    return f" ({near})" if near else ""


#: Key in the file -> field of the dataclass, check.
_RESOURCES: Mapping[str, Any] = {
    "cpus": integer(1),
    "memory": ("memory_bytes", parse_size),
    "gpus": integer(0),
    "nodes": integer(1),
    "walltime": ("walltime_s", duration),
    "counters": counters,
}
_RAISED: Mapping[str, Any] = {
    "cpus": factor_or(integer(1)),
    "memory": ("memory_bytes", factor_or(parse_size)),
    "gpus": factor_or(integer(0)),
    "nodes": factor_or(integer(1)),
    "walltime": ("walltime_s", factor_or(duration)),
}
_AFTER: Mapping[str, Check] = {name: partial(_after, name) for name in FAILURE_CLASSES}
_RETRY: Mapping[str, Any] = {
    "limit": integer(0),
    "delay": ("delay_s", parse_duration),
    "backoff": _backoff,
    "on": _classes,
    **_AFTER,
}


def _checked(mapping: Mapping[str, Any], name: str, known: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    """The fields under ``name``, with the values that are known; ``within`` is what stands before it in mistakes."""
    block, path = mapping.get(name, {}), within + name
    if not isinstance(block, Mapping):
        raise SpecError(path, f"found {found(block)}", f"a mapping with {', '.join(known)}")
    fields: dict[str, Any] = {}
    for key, value in block.items():
        if key not in known:
            raise SpecError(f"{path}.{key}", "unknown key", f"one of {', '.join(known)}", did_you_mean(key[:60], known))
        attribute, check = known[key] if isinstance(known[key], tuple) else (key, known[key])
        # A text never becomes a list, so what will be known later cannot be right there.
        if not _is_unknown(value) or check in (labels, _classes, counters, *_AFTER.values()):
            fields[attribute] = _value(f"{path}.{key}", value, check)
    return fields


def _value(key: str, value: Any, check: Check) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise SpecError(key, f"found {getattr(error, 'found', found(value))}", str(error)) from None


def _is_unknown(value: Any) -> bool:
    return isinstance(value, str) and PLACEHOLDER_BEGIN in value
