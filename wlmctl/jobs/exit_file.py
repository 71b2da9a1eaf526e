"""The exit file of a job, and what it says as an answer of the task contract."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wlmctl.batch import JobRef
from wlmctl.jobs.log_words import told
from wlmctl.jobs.sections import Section
from wlmctl.task import Done, Failed, FailureClass, Gone, PollAnswer


@dataclass(frozen=True, slots=True)
class ExitFile:
    """The one line of an exit file. ``by`` is ``self``, or ``cancel`` where the killer wrote it after its proof."""

    code: int
    nonce: str
    was_signalled: bool
    walltime_over: bool
    memory_killed: bool
    by: str

    @classmethod
    def parse(cls, line: bytes) -> ExitFile | None:
        """None for what is empty, torn or foreign: such a file counts as none."""
        match line.decode("ascii", "replace").split():
            case ["wlm1", code, nonce, ("0" | "1") as term, ("0" | "1") as wall, ("0" | "1") as memory, by, "end"]:
                if code.isdecimal() and len(code) <= 3:  # a shell knows none above 255
                    return cls(int(code), nonce, term == "1", wall == "1", memory == "1", by)
        return None

    @property
    def is_by_itself(self) -> bool:
        """True when no signal had come to the job's wrapper and nobody had to write the file for it."""
        return self.by == "self" and not self.was_signalled


def ended(exit_file: ExitFile, ref: JobRef, section: Section) -> PollAnswer:
    """The answer for a job with an exit file; where a cancel is in force, its proof is done."""
    code = exit_file.code
    if exit_file.by == "cancel" or (section.cancelled and not exit_file.is_by_itself):
        return Gone("cancelled", section.stdout, section.stderr)
    if exit_file.walltime_over:
        return over_walltime(ref, section, code)
    if exit_file.memory_killed:
        return out_of_memory(section, code)
    if code and (said := told(section.stderr)):
        return failed(section, f"{_told_code(code)}{_one_line(said[1])}", said[0], code)
    if exit_file.was_signalled:
        return failed(section, f"was ended by a signal from outside (exit code {code})", exit_code=code)
    if code:
        because = _last_line(section.stderr) if code <= 128 else ""
        return failed(section, _told_code(code) + because, exit_code=code)
    return Done(exit_code=0, stdout=section.stdout, stderr=section.stderr)


def over_walltime(ref: JobRef, section: Section, code: int | None = None, said: str = "") -> Failed:
    """The answer for a job that was ended at its walltime; ``said`` are the words of a queue for it."""
    limit = f" of {ref['walltime_s']:g} s" if "walltime_s" in ref else ""
    return failed(section, f"exceeded its walltime{limit}{said}", FailureClass.TIME, code)


def out_of_memory(section: Section, code: int | None = None, said: str = "") -> Failed:
    """The answer for a job that was killed for want of memory; ``said`` are the words of a queue for it."""
    return failed(section, f"was killed because memory ran out{said}", FailureClass.MEMORY, code)


def failed(
    section: Section, reason: str, failure_class: FailureClass = FailureClass.USER, exit_code: int | None = None
) -> Failed:
    """A failure, with the ends of the logs."""
    return Failed(reason, failure_class, exit_code, section.stdout, section.stderr)


def _told_code(code: int) -> str:
    if code > 128:
        try:
            return f"killed by {signal.Signals(code - 128).name} (exit code {code})"
        except ValueError:
            pass
    known: Mapping[int, Any] = {126: " (cannot be executed)", 127: " (command not found)"}
    return f"exit code {code}{known.get(code, '')}"


def _last_line(stderr: bytes) -> str:
    """The last line on stderr, which mostly says why, as the end of a one-line reason."""
    lines = reversed(stderr[-4096:].decode("utf-8", "replace").splitlines())
    return next(filter(None, map(_one_line, lines)), "")


def _one_line(line: str) -> str:
    text = "".join(character for character in line.strip() if character.isprintable())
    return f": {text[:200]}" if text else ""
