"""What an exit file and the verdict of a look say, as answers of the task contract."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wlmctl.batch import JobRef
from wlmctl.task import Done, Failed, FailureClass, Gone, PollAnswer, Running, Unknown


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
                return cls(int(code), nonce, term == "1", wall == "1", memory == "1", by) if code.isdecimal() else None
        return None

    @property
    def is_by_itself(self) -> bool:
        """True when no signal had come to the job's wrapper and nobody had to write the file for it."""
        return self.by == "self" and not self.was_signalled


def ended(exit_file: ExitFile, cancelled: bool, ref: JobRef, stdout: bytes, stderr: bytes) -> PollAnswer:
    """The answer for a job with an exit file; ``cancelled``: a cancel is in force, and its proof is done."""
    code = exit_file.code
    if exit_file.by == "cancel" or (cancelled and not exit_file.is_by_itself):
        return Gone("cancelled", stdout, stderr)
    failed = _Failure(code, stdout, stderr)
    if exit_file.walltime_over:
        return failed(f"exceeded its walltime of {ref.get('walltime_s', 0):g} s", FailureClass.TIME)
    if exit_file.memory_killed:
        return failed("was killed because memory ran out", FailureClass.MEMORY)
    if exit_file.was_signalled:
        return failed(f"was ended by a signal from outside (exit code {code})")
    if code:
        return failed(_told_code(code) + (_last_line(stderr) if code <= 128 else ""))
    return Done(exit_code=0, stdout=stdout, stderr=stderr)


def judged(verdict: list[str], cancelled: bool, stdout: bytes, stderr: bytes) -> PollAnswer:
    """The answer for a verdict of look.sh (its words), with the tails of the logs."""
    match verdict:
        case ["wlm1", *_]:
            return Failed("its exit file is damaged", _INFRA, stdout=stdout, stderr=stderr)
        case ["gone"]:
            return Gone("cancelled", stdout, stderr)
        case ["never"] if cancelled:
            return Gone("cancelled before it started")
        case ["never"]:
            return Failed("never started: no process of it was found, and it is kept from starting now", _INFRA)
        case [("reboot" | "lost") as how] if cancelled:
            return Gone("the machine restarted" if how == "reboot" else "its processes are gone", stdout, stderr)
        case ["reboot"]:
            return Failed("the machine restarted while it ran", _INFRA, stdout=stdout, stderr=stderr)
        case ["lost"]:
            return Failed("lost: its processes are gone and left no exit file", _INFRA, stdout=stdout, stderr=stderr)
        case ["starting"]:
            return Running(started=False)
        case ["run"]:
            return Running(stdout=stdout, stderr=stderr)
        case ["ending"]:
            return Unknown("its processes have been told to end and have not ended yet")
        case ["elsewhere", there, here]:
            return Unknown(f"it was started on {there}, and this login is on {here}, where it cannot be seen")
        case ["dark", pid]:
            return Unknown(f"process {pid} may belong to it: started later, and its environment cannot be read")
        case ["unsealed"]:
            return Unknown("nothing can be written into its folder (disk full, or no permission?)")
    return Unknown(f"unexpected answer {' '.join(verdict)!r}")


_INFRA = FailureClass.INFRA


@dataclass(frozen=True, slots=True)
class _Failure:
    code: int
    stdout: bytes
    stderr: bytes

    def __call__(self, reason: str, failure_class: FailureClass = FailureClass.USER) -> Failed:
        return Failed(reason, failure_class, self.code, self.stdout, self.stderr)


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
    for line in reversed(stderr[-4096:].decode("utf-8", "replace").splitlines()):
        text = "".join(character for character in line.strip() if character.isprintable())
        if text:
            return f": {text[:200]}"
    return ""
