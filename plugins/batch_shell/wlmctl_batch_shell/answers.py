"""What the verdict of a look says, as answers of the task contract."""

from __future__ import annotations

from wlmctl.batch import JobRef
from wlmctl.jobs.exit_file import ExitFile, ended, failed
from wlmctl.jobs.sections import Section
from wlmctl.task import FailureClass, Gone, PollAnswer, Running, Unknown


def judged(ref: JobRef, section: Section) -> PollAnswer:
    """The answer for what was told of a job; no words mean that it runs."""
    if exit_file := ExitFile.parse(" ".join(section.words).encode()):
        return ended(exit_file, ref, section)
    stdout, stderr = section.stdout, section.stderr
    match section.words:
        case [] | ["run"]:
            return Running(stdout=stdout, stderr=stderr)
        case ["wlm1", *_]:
            return failed(section, "its exit file is damaged", _INFRA)
        case ["gone"]:
            return Gone("cancelled", stdout, stderr)
        case ["never"] if section.cancelled:
            return Gone("cancelled before it started")
        case ["never"]:
            return failed(
                section, "never started: no process of it was found, and it is kept from starting now", _INFRA
            )
        case [("reboot" | "lost") as how] if section.cancelled:
            return Gone("the machine restarted" if how == "reboot" else "its processes are gone", stdout, stderr)
        case ["reboot"]:
            return failed(section, "the machine restarted while it ran", _INFRA)
        case ["lost"]:
            return failed(section, "lost: its processes are gone and left no exit file", _INFRA)
        case ["starting"]:
            return Running(started=False)
        case ["ending"]:
            return Unknown("its processes have been told to end and have not ended yet")
        case ["elsewhere", there, here]:
            return Unknown(f"it was started on {there}, and this login is on {here}, where it cannot be seen")
        case ["dark", pid]:
            return Unknown(f"process {pid} may belong to it: started later, and its environment cannot be read")
        case ["unsealed"]:
            return Unknown("nothing can be written into its folder (disk full, or no permission?)")
    return Unknown(f"unexpected answer {' '.join(section.words)!r}")


_INFRA = FailureClass.INFRA
