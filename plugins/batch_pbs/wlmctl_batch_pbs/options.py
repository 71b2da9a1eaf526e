"""What a user may say of a job to PBS, beyond what every queue has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from wlmctl.jobs.queue import options as why
from wlmctl.jobs.queue.options import QueueOptions, WrongOption
from wlmctl.jobs.queue.words import check_words, option_words

_REFUSED = {
    "r": why.RERUN,
    "J": why.ARRAY,
    "t": why.ARRAY,
    "N": why.NAME,
    "h": why.HOLD,
    "S": why.SCRIPT,
    "C": why.SCRIPT,
    "F": why.SCRIPT,
    "I": why.SCRIPT,
    "X": why.SCRIPT,
    "x": why.SCRIPT,
    "z": why.ANSWER,
    "f": why.RERUN,
    "o": why.LOGS,
    "e": why.LOGS,
    "j": why.LOGS,
    "k": why.LOGS,
    "R": why.LOGS,
    "d": why.DIRECTORY,
    "w": why.DIRECTORY,
    "D": why.DIRECTORY,
    "u": why.LOGIN,
}
_FLAGS = ("V", "n")


@dataclass(frozen=True, slots=True)
class PbsOptions(QueueOptions):
    """The options of one job; ``project`` is PBS Pro's, ``account`` is what both have."""

    name: ClassVar[str] = "pbs"
    program: ClassVar[str] = "qsub"

    queue: str | None = None
    account: str | None = None
    project: str | None = None

    def arguments(self) -> list[str]:
        """These options as words for qsub."""
        return [*option_words(("-q", self.queue), ("-A", self.account), ("-P", self.project)), *self.extra]

    @classmethod
    def check_extra(cls, words: Sequence[str]) -> None:
        """Options of qsub and their values."""
        check_words(words, cls.program, _REFUSED, _FLAGS, letters=True)
        for word in words:
            if word.removeprefix("-W").lstrip().startswith("block"):
                raise WrongOption(f"extra: {word!r} is refused: {why.WAIT}")
