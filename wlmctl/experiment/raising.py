"""What the next attempt asks for after a failure: ``retry: {memory: {resources: {memory: x2}}}``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any

from wlmctl.experiment.model import Raise, Times
from wlmctl.machine import Machine
from wlmctl.quantities import MAX_DURATION_S, MAX_SIZE_BYTES, format_duration, format_size
from wlmctl.task import Resources
from wlmctl.text import counted

#: The text of a factor, as a regular expression of a whole text.
FACTOR_PATTERN = r"^x[0-9]{1,4}(\.[0-9]{1,6})?$"

#: What no request exceeds, however often it is raised; of all others a million.
_BOUNDS = {"memory_bytes": MAX_SIZE_BYTES, "walltime_s": MAX_DURATION_S}
_BOUND = 10**6


def factor_or(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A check for ``x2``, twice what the failed attempt had, or for what ``check`` takes."""

    def either(value: Any) -> Any:
        if isinstance(value, str) and re.match(FACTOR_PATTERN, value):
            if (factor := float(value[1:])) > 1:
                return Times(factor)
            raise ValueError("a factor above 1, such as x2 or x1.5")
        try:
            return check(value)
        except ValueError as error:
            raise ValueError(f"a factor such as x2, or {error}") from None

    return either


def raised(had: Resources, asked: Raise, machine: Machine | None = None) -> Resources:
    """What the attempt after one with ``had`` asks for: of nothing more than the machine has, where that is given."""
    new = dict[str, Any]()
    for name, change in asked.items():
        old, most = getattr(had, name), getattr(machine, name, None)
        if not isinstance(change, Times):
            new[name] = change
        elif old is not None:
            value = min(old * change.factor, _BOUNDS.get(name, _BOUND))
            new[name] = value if name == "walltime_s" else math.ceil(round(value, 6))
        if most is not None and new.get(name, 0) > most:
            new[name] = max(most, old)
    return replace(had, **new)


def is_at_most(had: Resources, asked: Raise, machine: Machine) -> bool:
    """True where the machine has no more than the failed attempt had of anything that is to be raised."""
    return raised(had, asked, machine) == had != raised(had, asked)


def steps(first: Resources, asked: Raise, limit: int, machine: Machine) -> list[Resources]:
    """What the attempts ask for, as long as each asks for more than the one before; ten are enough for anybody."""
    asks = [first]
    while len(asks) <= min(limit, 10) and (after := raised(asks[-1], asked, machine)) != asks[-1]:
        asks.append(after)
    return asks


def differences(now: Resources, before: Resources) -> dict[str, Any]:
    """The fields in which ``now`` differs, as plain values."""
    old = asdict(before)
    return {name: value for name, value in asdict(now).items() if value != old[name]}


def told(resources: Resources, names: Iterable[str]) -> str:
    """These fields for people: ``1.0 GiB of memory and a walltime of 15m 00s``."""
    return " and ".join(_told(name, getattr(resources, name)) for name in names)


def _told(name: str, value: Any) -> str:
    match name:
        case "memory_bytes":
            return f"{format_size(value)} of memory"
        case "walltime_s":
            return "no walltime" if value is None else f"a walltime of {format_duration(value)}"
    return counted(value, name.removesuffix("s"))
