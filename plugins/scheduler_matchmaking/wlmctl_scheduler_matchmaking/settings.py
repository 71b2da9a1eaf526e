"""The options of ``matchmaking``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wlmctl.errors import ConfigError
from wlmctl.quantities import parse_duration

PLACEMENTS = ("pack", "spread")
SOLVERS = ("auto", "python", "ortools")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user may choose. A duration of 0 switches off what it is for."""

    #: Seconds of waiting after which a group counts as one priority level higher; its walltime, where that is longer.
    ageing_step_s: float = 3600.0
    #: Seconds of waiting after which a machine is kept for the oldest task that finds no room; half for a short one.
    reserve_after_s: float = 3600.0
    #: An experiment with less slack than this before its deadline goes before every priority.
    deadline_margin_s: float = 3600.0
    #: Whether those who have least go first within a band.
    fair: bool = True
    #: ``pack``: the fullest machine and worker first, ``spread``: the emptiest; None: machines are packed, workers not.
    placement: str | None = None
    #: How many classes the searches of one decision may meet.
    steps: int = 2_000_000
    #: ``python``: without the extra; ``ortools``: with it, whatever the size; ``auto``: with it, where it is worth it.
    solver: str = "auto"

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Settings:
        """The settings that ``scheduler_options`` ask for; ``ConfigError`` for a wrong one."""
        known = ("ageing_step", "reserve_after", "deadline_margin", "fair", "placement", "steps", "solver")
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise ConfigError(
                f"scheduler_options.{unknown[0]}: unknown option of matchmaking, expected one of {', '.join(known)}"
            )
        chosen: dict[str, Any] = {}
        for name in ("ageing_step", "reserve_after", "deadline_margin"):
            if name in options:
                chosen[f"{name}_s"] = _duration(name, options[name])
        if "fair" in options:
            chosen["fair"] = _one_of("fair", options["fair"], (True, False))
        if "placement" in options:
            chosen["placement"] = _one_of("placement", options["placement"], PLACEMENTS)
        if "steps" in options:
            chosen["steps"] = _count("steps", options["steps"])
        if "solver" in options:
            chosen["solver"] = _one_of("solver", options["solver"], SOLVERS)
        return cls(**chosen)


def _duration(name: str, value: Any) -> float:
    try:
        return parse_duration(str(value))
    except ValueError as error:
        raise ConfigError(f"scheduler_options.{name}: found {value!r}, expected {error}") from error


def _one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    if not any(value is each or (isinstance(each, str) and value == each) for each in allowed):
        expected = " or ".join(str(each).lower() for each in allowed)
        raise ConfigError(f"scheduler_options.{name}: found {value!r}, expected {expected}")
    return value


def _count(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(f"scheduler_options.{name}: found {value!r}, expected a whole number, 0 or more")
    return value
