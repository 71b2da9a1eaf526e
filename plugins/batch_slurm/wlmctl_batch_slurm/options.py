"""What a user may say of a job to Slurm, beyond what every queue has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from wlmctl.jobs.queue import options as why
from wlmctl.jobs.queue.options import QueueOptions, WrongOption

_REFUSED = {
    "requeue": why.RERUN,
    "array": why.ARRAY,
    "job-name": why.NAME,
    "hold": why.HOLD,
    "wrap": why.SCRIPT,
    "wait": why.WAIT,
    "parsable": why.ANSWER,
    "test-only": "nothing would run",
    "output": why.LOGS,
    "error": why.LOGS,
    "chdir": why.DIRECTORY,
    "comment": why.MARK,
    "user": why.LOGIN,
}
_SHORT = {"a": "array", "J": "job-name", "H": "hold", "W": "wait", "o": "output", "e": "error", "D": "chdir"}
_OPTION = re.compile(r"--([a-z][a-z0-9-]*)(?:=.*)?|-([A-Za-z]).*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SlurmOptions(QueueOptions):
    """The options of one job."""

    name: ClassVar[str] = "slurm"
    program: ClassVar[str] = "sbatch"

    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None

    def arguments(self) -> list[str]:
        """These options as words for sbatch."""
        named = ("account", "partition", "qos", "constraint", "reservation")
        values = [(name, getattr(self, name)) for name in named]
        return [*(f"--{name}={value}" for name, value in values if value is not None), *self.extra]

    @classmethod
    def check_extra(cls, words: Sequence[str]) -> None:
        """Each word is one option of sbatch."""
        for word in words:
            _check(word)


def _check(word: str) -> None:
    match = _OPTION.fullmatch(word)
    if match is None:
        raise WrongOption(f"extra: {word!r}, expected an option of sbatch in one word, as --exclusive or --mem=4G")
    name = match[1] or _SHORT.get(match[2], match[2])
    # sbatch takes any unambiguous beginning of a long option
    refused = next((full for full in _REFUSED if full.startswith(name) and (name == full or len(name) > 2)), None)
    if refused is not None:
        raise WrongOption(f"extra: {word!r} is refused: {_REFUSED[refused]}")
