"""The strategies that can be simulated: every installed scheduler, and two yardsticks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wlmctl.errors import ConfigError, UsageError
from wlmctl.scheduler import SchedulerFactory
from wlmctl.simulation.easy import Easy
from wlmctl.simulation.engine import Strategy
from wlmctl.simulation.plugin_strategy import PluginStrategy
from wlmctl.simulation.typed_fifo import TypedFifo
from wlmctl.simulation.workload import Problem
from wlmctl.suggest import did_you_mean
from wlmctl.text import in_quotes

#: What is simulated beside the installed schedulers, to compare them with.
YARDSTICKS = ("typed-fifo", "easy")

#: Options that a scheduler is given where it has them: jobs of a trace wait for hours, not for minutes.
_OF_TRACES: Mapping[str, str] = {"ageing_step": "4h", "reserve_after": "4h"}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A strategy as it was asked for: ``matchmaking``, or ``matchmaking:ageing_step=1h,fair=false``."""

    text: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


def chosen(text: str, installed: Sequence[str], yardsticks: Sequence[str] = YARDSTICKS) -> Chosen:
    """What the text of a ``--strategy`` means; ``UsageError`` where there is none of that name."""
    name, colon, rest = text.partition(":")
    known = (*installed, *yardsticks)
    if name not in known:
        hint = did_you_mean(name, list(known))
        raise UsageError(
            f"--strategy {in_quotes(text)}: no such strategy, expected one of {', '.join(known)}"
            + (f" ({hint})" if hint else "")
        )
    if colon and name in YARDSTICKS:
        raise UsageError(f"--strategy {in_quotes(text)}: {name} has no options")
    options = dict[str, Any]()
    for pair in rest.split(",") if colon else ():
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise UsageError(f"--strategy {in_quotes(text)}: {in_quotes(pair)}, expected KEY=VALUE")
        options[key] = _value(value)
    return Chosen(text, name, options)


def _value(text: str) -> Any:
    """The value as it would stand in the configuration: ``true``, ``false`` and whole numbers are no texts there."""
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isdecimal() and len(text) < 16 else text


def strategy(
    choice: Chosen,
    problem: Problem,
    seed: int,
    factory: Callable[[str], SchedulerFactory],
    configured: Mapping[str, Any],
) -> Strategy:
    """A new strategy. ``configured`` are the options that the configuration has for this scheduler."""
    if choice.name == "typed-fifo":
        return TypedFifo(seed)
    if choice.name == "easy":
        return Easy()
    make = factory(choice.name)
    options = {**configured, **choice.options}
    for name, value in _OF_TRACES.items():
        if name not in options and _takes(make, {**options, name: value}):
            options[name] = value
    try:
        made = make(options)
    except ConfigError as error:
        raise UsageError(f"--strategy {in_quotes(choice.text)}: {error}") from error
    return PluginStrategy(choice.text, made, problem, seed)


def _takes(make: SchedulerFactory, options: Mapping[str, Any]) -> bool:
    """Whether the scheduler has these options."""
    try:
        make(options)
    except ConfigError:
        return False
    return True
