"""What a user may say of a job to Grid Engine, beyond what every queue has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from wlmctl.jobs.queue import options as why
from wlmctl.jobs.queue.options import QueueOptions
from wlmctl.jobs.queue.words import check_words, option_words

_REFUSED = {
    "r": why.RERUN,
    "ckpt": why.RERUN,
    "t": why.ARRAY,
    "tc": why.ARRAY,
    "N": why.NAME,
    "h": why.HOLD,
    "b": why.SCRIPT,
    "S": why.SCRIPT,
    "shell": why.SCRIPT,
    "i": why.SCRIPT,
    "C": why.SCRIPT,
    "@": "say its words here",
    "clear": "say what the job needs",
    "sync": why.WAIT,
    "now": why.WAIT,
    "terse": why.ANSWER,
    "verify": "nothing would run",
    "o": why.LOGS,
    "e": why.LOGS,
    "j": why.LOGS,
    "cwd": why.DIRECTORY,
    "wd": why.DIRECTORY,
    "notify": "its signals would end the job before it is to end",
}
_FLAGS = ("V", "hard", "soft")


@dataclass(frozen=True, slots=True)
class SgeOptions(QueueOptions):
    """The options of one job.

    ``parallel_environment`` is what a job of several cpus or nodes runs in. ``memory_resource`` and ``gpu_resource``
    are what the cluster calls these: a request of memory is for each slot. A job leaves the listing only when its node
    has reported its end, so that a silence of a minute says enough.
    """

    name: ClassVar[str] = "sge"
    program: ClassVar[str] = "qsub"

    lost_after_s: float = 60.0
    queue: str | None = None
    project: str | None = None
    parallel_environment: str | None = None
    memory_resource: str = "mem_free"
    gpu_resource: str = "gpu"

    def arguments(self) -> list[str]:
        """These options as words for qsub."""
        return [*option_words(("-q", self.queue), ("-P", self.project)), *self.extra]

    @classmethod
    def check_extra(cls, words: Sequence[str]) -> None:
        """Options of qsub and their values."""
        check_words(words, cls.program, _REFUSED, _FLAGS)
