"""The keys that every task has, whatever its type: ``resources``, ``retry``, ``timeout``, ``worker``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wlmctl.errors import SpecError
from wlmctl.experiment.mistakes import NOT_YET
from wlmctl.experiment.model import Retry
from wlmctl.experiment.names import NAME_FORM, is_name
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
    retry = _checked(mapping, "retry", _RETRY, FAILURE_CLASSES)
    worker = _checked(mapping, "worker", {"labels": labels})
    timeout = mapping.get("timeout")
    resources = _checked(mapping, "resources", _RESOURCES)
    taken = resources.pop("counters", ())
    return Common(
        Resources(**resources),
        Retry(**retry) if retry else None,
        None if timeout is None or _is_unknown(timeout) else _value("timeout", timeout, duration),
        worker.get("labels", ()),
        taken,
    )


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
_RETRY: Mapping[str, Any] = {
    "limit": integer(0),
    "delay": ("delay_s", parse_duration),
    "backoff": _backoff,
    "on": _classes,
}


def _checked(
    mapping: Mapping[str, Any], name: str, known: Mapping[str, Any], reserved: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The fields under ``name``, with the values that are known."""
    block = mapping.get(name, {})
    if not isinstance(block, Mapping):
        raise SpecError(name, f"found {found(block)}", f"a mapping with {', '.join(known)}")
    fields: dict[str, Any] = {}
    for key, value in block.items():
        if key in reserved:
            raise SpecError(f"{name}.{key}", "a reserved key", "", NOT_YET)
        if key not in known:
            raise SpecError(f"{name}.{key}", "unknown key", f"one of {', '.join(known)}", did_you_mean(key[:60], known))
        attribute, check = known[key] if isinstance(known[key], tuple) else (key, known[key])
        # A text never becomes a list, so what will be known later cannot be right there.
        if not _is_unknown(value) or check in (labels, _classes, counters):
            fields[attribute] = _value(f"{name}.{key}", value, check)
    return fields


def _value(key: str, value: Any, check: Check) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise SpecError(key, f"found {getattr(error, 'found', found(value))}", str(error)) from None


def _is_unknown(value: Any) -> bool:
    return isinstance(value, str) and PLACEHOLDER_BEGIN in value
