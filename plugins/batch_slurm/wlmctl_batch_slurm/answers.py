"""What the verdict of a look and the word of Slurm say, as answers of the task contract."""

from __future__ import annotations

from wlmctl.batch import JobRef
from wlmctl.jobs.exit_file import ExitFile, ended, failed, out_of_memory, over_walltime
from wlmctl.jobs.sections import Section
from wlmctl.task import Failed, FailureClass, Gone, PollAnswer, Running, Unknown


def judged(ref: JobRef, section: Section) -> PollAnswer:
    """The answer for what was told of a job; no words mean that it runs."""
    if exit_file := ExitFile.parse(" ".join(section.words).encode()):
        if section.cancelled:  # it came after the mark of the cancel, and the mark of the signal may be missing
            return Gone("cancelled", section.stdout, section.stderr)
        return by_state(ref, section, exit_file.code) or ended(exit_file, ref, section)
    match section.words:
        case [] | ["run"]:
            return Running(stdout=section.stdout, stderr=section.stderr)
        case ["wait", state, *reason]:
            return Running(started=False, reason=" ".join(reason) if state == "PENDING" else state)
        case ["wlm1", *_]:
            return failed(section, "its exit file is damaged", FailureClass.INFRA)
        case [("gone" | "lost" | "never") as how] if section.cancelled:
            return Gone(
                "cancelled before it started" if how == "never" else "cancelled", section.stdout, section.stderr
            )
        case ["never"]:
            return by_state(ref, section) or failed(section, _never(section.state), FailureClass.INFRA)
        case ["lost"]:
            return by_state(ref, section) or failed(
                section, f"lost: {_ended_in_slurm(section.state)}, no exit file and no sign of life", FailureClass.INFRA
            )
        case ["ending"]:
            return Unknown("it is ending, and its end is not proven yet")
        case ["unsealed"]:
            return Unknown("nothing can be written into its folder (disk full, or no permission?)")
    return Unknown(f"unexpected answer {' '.join(section.words)!r}")


def by_state(ref: JobRef, section: Section, exit_code: int | None = None) -> Failed | None:
    """The failure that Slurm's word for the end stands for, whatever the exit code says; None: it is no failure."""
    match section.state:
        case "TIMEOUT" | "DEADLINE":
            return over_walltime(ref, section, exit_code)
        case "OUT_OF_MEMORY":
            return out_of_memory(section, exit_code)
        case "PREEMPTED":
            return failed(section, "preempted by Slurm", FailureClass.PREEMPTED, exit_code)
        case "NODE_FAIL" | "BOOT_FAIL":
            return failed(section, f"its node failed (Slurm: {section.state})", FailureClass.INFRA, exit_code)
        case "CANCELLED" | "REVOKED":
            why = f": {section.said}" if section.said not in ("", "None") else " (scancel?)"
            return failed(section, f"cancelled in Slurm, not by wlmctl{why}", FailureClass.CANCELLED, exit_code)
        case "ABSENT" if exit_code is not None and exit_code > 128:
            reason = f"was killed, and Slurm does not know it any more (exit code {exit_code})"
            return failed(section, reason, FailureClass.INFRA, exit_code)
    return None


def _never(state: str) -> str:
    if state in ("", "ABSENT"):
        return "never started: Slurm does not know it, and it is kept from starting now"
    if state == "LAUNCH_FAILED":
        return "never started: Slurm gave it a node and could not launch it there"
    return f"never started: {_ended_in_slurm(state)}; can the nodes see its folder?"


def _ended_in_slurm(state: str) -> str:
    return "Slurm does not know it any more" if state in ("", "ABSENT") else f"Slurm has it as {state}"
