"""What a user may say of a job to Slurm: ``batch_options`` of the machine, and ``batch: {slurm: ...}`` of a task."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from wlmctl.quantities import parse_duration
from wlmctl.suggest import did_you_mean

#: Options of sbatch that would take the job out of our hands, and why they are refused.
_REFUSED = {
    "requeue": "a job that is run again by Slurm would run twice; wlmctl makes the next attempt itself",
    "array": "foreach makes the instances",
    "job-name": "wlmctl finds its jobs by their names",
    "hold": "pause holds an experiment",
    "wrap": "the task's command is the script",
    "wait": "wlmctl watches the job",
    "parsable": "wlmctl reads the answer itself",
    "test-only": "nothing would run",
    "output": "wlmctl keeps the logs",
    "error": "wlmctl keeps the logs",
    "chdir": "say it by the task's directory",
    "comment": "wlmctl finds what it has left by it",
    "user": "the job belongs to the login",
}
_SHORT = {"a": "array", "J": "job-name", "H": "hold", "W": "wait", "o": "output", "e": "error", "D": "chdir"}
_OPTION = re.compile(r"--([a-z][a-z0-9-]*)(?:=.*)?|-([A-Za-z]).*", re.DOTALL)


class WrongOption(Exception):
    """An option that cannot be taken: its key, what was found, what was expected."""


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """The options of one job.

    ``extra`` are further words for sbatch. ``lost_after_s``: how long a job that is not in Slurm any more must be
    without a beat and without an exit file before it counts as lost.
    """

    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    extra: Sequence[str] = ()
    lost_after_s: float = 240.0

    def arguments(self) -> list[str]:
        """These options as words for sbatch."""
        named = ("account", "partition", "qos", "constraint", "reservation")
        values = [(name, getattr(self, name)) for name in named]
        return [*(f"--{name}={value}" for name, value in values if value is not None), *self.extra]


_NAMES = {"lost_after_s": "lost_after"}


def parse(options: Mapping[str, Any], defaults: SlurmOptions = SlurmOptions()) -> SlurmOptions:
    """``options`` over ``defaults``; ``WrongOption`` for one that is unknown, of a wrong type or refused."""
    known = {_NAMES.get(field.name, field.name): field.name for field in fields(SlurmOptions)}
    given: dict[str, Any] = {}
    for key, value in options.items():
        if key not in known:
            hint = did_you_mean(key, known) or f"there are {', '.join(known)}"
            raise WrongOption(f"{key}: the batch system slurm has no such option; {hint}")
        given[known[key]] = _value(key, value)
    return replace(defaults, **given)


def _value(key: str, value: Any) -> Any:
    if key == "extra":
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise WrongOption(f"extra: {value!r}, expected a list of words for sbatch")
        for word in value:
            _check_extra(word)
        return tuple(value)
    if key == "lost_after":
        try:
            return parse_duration(value)
        except ValueError as error:
            raise WrongOption(f"lost_after: {value!r}, expected a duration ({error})") from error
    if not isinstance(value, str) or not value or any(character.isspace() for character in value):
        raise WrongOption(f"{key}: {value!r}, expected one word")
    return value


def _check_extra(word: str) -> None:
    match = _OPTION.fullmatch(word)
    if match is None:
        raise WrongOption(f"extra: {word!r}, expected an option of sbatch in one word, as --exclusive or --mem=4G")
    name = match[1] or _SHORT.get(match[2], match[2])
    # sbatch takes any unambiguous beginning of a long option
    refused = next((full for full in _REFUSED if full.startswith(name) and (name == full or len(name) > 2)), None)
    if refused is not None:
        raise WrongOption(f"extra: {word!r} is refused: {_REFUSED[refused]}")
