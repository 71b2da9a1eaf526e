"""What a user may say of a job to LSF, beyond what every queue has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from wlmctl.jobs.queue import options as why
from wlmctl.jobs.queue.options import QueueOptions
from wlmctl.jobs.queue.words import check_words, option_words

_REFUSED = {
    "r": why.RERUN,
    "rn": why.RERUN,
    "Q": why.RERUN,
    "k": why.RERUN,
    "mig": why.RERUN,
    "J": why.NAME,
    "Jd": why.MARK,
    "H": why.HOLD,
    "Zs": why.SCRIPT,
    "i": why.SCRIPT,
    "is": why.SCRIPT,
    "pack": why.SCRIPT,
    "K": why.WAIT,
    "o": why.LOGS,
    "oo": why.LOGS,
    "e": why.LOGS,
    "eo": why.LOGS,
    "cwd": why.DIRECTORY,
    "outdir": why.DIRECTORY,
    **dict.fromkeys(("I", "Ip", "Is", "IS", "ISp", "ISs", "IX"), why.SCRIPT),
}
_FLAGS = ("x", "ul", "B", "N", "ptl")


@dataclass(frozen=True, slots=True)
class LsfOptions(QueueOptions):
    """The options of one job; ``application`` is an application profile."""

    name: ClassVar[str] = "lsf"
    program: ClassVar[str] = "bsub"

    queue: str | None = None
    project: str | None = None
    application: str | None = None

    def arguments(self) -> list[str]:
        """These options as words for bsub."""
        return [*option_words(("-q", self.queue), ("-P", self.project), ("-app", self.application)), *self.extra]

    @classmethod
    def check_extra(cls, words: Sequence[str]) -> None:
        """Options of bsub and their values."""
        check_words(words, cls.program, _REFUSED, _FLAGS)
