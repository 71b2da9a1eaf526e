"""What a user may say of a job to its queue: ``batch_options`` of the machine, and ``batch: {NAME: ...}`` of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

from wlmctl.errors import ConfigError
from wlmctl.machine import Machine
from wlmctl.quantities import parse_duration
from wlmctl.suggest import did_you_mean

_NAMES = {"lost_after_s": "lost_after"}

#: Why words that would take the job out of our hands are refused.
RERUN = "a job that is run again by the queue would run twice; wlmctl makes the next attempt itself"
ARRAY = "foreach makes the instances"
NAME = "wlmctl finds its jobs by their names"
HOLD = "pause holds an experiment"
SCRIPT = "the task's command is the script"
WAIT = "wlmctl watches the job"
ANSWER = "wlmctl reads the answer itself"
LOGS = "wlmctl keeps the logs"
DIRECTORY = "say it by the task's directory"
MARK = "wlmctl finds what it has left by it"
LOGIN = "the job belongs to the login"


class WrongOption(Exception):
    """An option that cannot be taken: its key, what was found, what was expected."""


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """The options of one job that every queue has; a system's own are words, or None where nothing is said.

    ``extra`` are further words for the submitting command. ``lost_after_s``: how long a job that is not in the queue
    any more must be without a beat and without an exit file before it counts as lost.
    """

    name: ClassVar[str]
    program: ClassVar[str]

    extra: Sequence[str] = ()
    lost_after_s: float = 240.0

    @classmethod
    def check_extra(cls, words: Sequence[str]) -> None:
        """``WrongOption`` for a word that is no option of the submitting command, or would take the job from us."""
        raise NotImplementedError

    @classmethod
    def of(cls, machine: Machine, options: Mapping[str, Any]) -> Self:
        """The machine's ``batch_options``; ``ConfigError`` for a wrong one."""
        try:
            return cls().over(options)
        except WrongOption as error:
            raise ConfigError(f"machines.{machine.name}.batch_options.{error}") from error

    def over(self, options: Mapping[str, Any]) -> Self:
        """``options`` over these; ``WrongOption`` for one that is unknown, of a wrong type or refused."""
        known = {_NAMES.get(field.name, field.name): field.name for field in fields(self)}
        given: dict[str, Any] = {}
        for key, value in options.items():
            if key not in known:
                hint = did_you_mean(key, known) or f"there are {', '.join(known)}"
                raise WrongOption(f"{key}: the batch system {self.name} has no such option; {hint}")
            given[known[key]] = self._value(key, value)
        return replace(self, **given)

    def _value(self, key: str, value: Any) -> Any:
        if key == "extra":
            if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
                raise WrongOption(f"extra: {value!r}, expected a list of words for {self.program}")
            self.check_extra(value)
            return tuple(value)
        if key == "lost_after":
            try:
                return parse_duration(value)
            except ValueError as error:
                raise WrongOption(f"lost_after: {value!r}, expected a duration ({error})") from error
        if not isinstance(value, str) or not value or any(character.isspace() for character in value):
            raise WrongOption(f"{key}: {value!r}, expected one word")
        return value
