"""What the verdict of a look and the word of a queue say, as answers of the task contract."""

from __future__ import annotations

from functools import partial

from wlmctl.batch import JobRef
from wlmctl.jobs.exit_file import ExitFile, ended, failed, out_of_memory, over_walltime
from wlmctl.jobs.sections import Judge, Section
from wlmctl.task import Failed, FailureClass, Gone, PollAnswer, Running, Unknown


def judge_of(queue: str) -> Judge:
    """How jobs of the queue that users know by this name are judged."""
    return partial(_judged, queue)


def _judged(queue: str, ref: JobRef, section: Section) -> PollAnswer:
    """The answer for what was told of a job; no words mean that it runs."""
    if exit_file := ExitFile.parse(" ".join(section.words).encode()):
        if section.cancelled:  # it came after the mark of the cancel, and the mark of the signal may be missing
            return Gone("cancelled", section.stdout, section.stderr)
        return _by_state(queue, ref, section, exit_file) or _by_itself(queue, exit_file, ref, section)
    match section.words:
        case [] | ["run"]:
            return Running(stdout=section.stdout, stderr=section.stderr)
        case ["wait", state, *reason]:
            said = " ".join(reason) if state == "PENDING" else state
            return Running(started=False, reason="" if said == "None" else said)
        case ["wlm1", *_]:
            return failed(section, "its exit file is damaged", FailureClass.INFRA)
        case [("gone" | "lost" | "never") as how] if section.cancelled:
            return Gone(
                "cancelled before it started" if how == "never" else "cancelled", section.stdout, section.stderr
            )
        case ["never"]:
            return _by_state(queue, ref, section) or failed(section, _never(queue, section.state), FailureClass.INFRA)
        case ["lost"]:
            return _by_state(queue, ref, section) or failed(
                section,
                f"lost: {_ended_in(queue, section.state)}, no exit file and no sign of life",
                FailureClass.INFRA,
            )
        case ["ending"]:
            return Unknown("it is ending, and its end is not proven yet")
        case ["unsealed"]:
            return Unknown("nothing can be written into its folder (disk full, or no permission?)")
    return Unknown(f"unexpected answer {' '.join(section.words)!r}")


def _by_state(queue: str, ref: JobRef, section: Section, exit_file: ExitFile | None = None) -> Failed | None:
    """The failure that the queue's word for the end stands for, whatever the exit code says; None: it is no failure.

    A cancel has signalled the wrapper: else it is the word of a controller that did not know that the job runs.
    """
    exit_code = None if exit_file is None else exit_file.code
    match section.state:
        case "TIMEOUT" | "DEADLINE":
            return over_walltime(ref, section, exit_code, f" ({queue}: {section.state})")
        case "OUT_OF_MEMORY":
            return out_of_memory(section, exit_code, f" ({queue}: {section.state})")
        case "PREEMPTED":
            return failed(section, f"preempted by {queue}", FailureClass.PREEMPTED, exit_code)
        case "REQUEUED":
            return failed(section, f"re-queued in {queue} while it ran", FailureClass.PREEMPTED, exit_code)
        case "NODE_FAIL" | "BOOT_FAIL":
            return failed(section, f"its node failed ({queue}: {section.state})", FailureClass.INFRA, exit_code)
        case "CANCELLED" | "REVOKED" if exit_file is None or exit_file.code > 128 or not exit_file.is_by_itself:
            why = f": {section.said}" if section.said not in ("", "None") else ""
            return failed(section, f"cancelled in {queue}, not by wlmctl{why}", FailureClass.CANCELLED, exit_code)
    return None


def _by_itself(queue: str, exit_file: ExitFile, ref: JobRef, section: Section) -> PollAnswer:
    """What the exit file and the log say; where they do not say who killed it, a queue that has forgotten it might."""
    answer = ended(exit_file, ref, section)
    is_open = isinstance(answer, Failed) and answer.failure_class is FailureClass.USER
    if section.state == "ABSENT" and exit_file.code > 128 and is_open:
        reason = f"was killed, and {queue} does not know it any more (exit code {exit_file.code})"
        return failed(section, reason, FailureClass.INFRA, exit_file.code)
    return answer


def _never(queue: str, state: str) -> str:
    if state in ("", "ABSENT", "ENDED"):
        return f"never started: {queue} does not know it, and it is kept from starting now"
    if state == "PACK_OVER":
        return f"never started: {queue} ended its pack at the pack's walltime, before its turn"
    if state == "LAUNCH_FAILED":
        return f"never started: {queue} gave it a node and could not launch it there"
    return f"never started: {_ended_in(queue, state)}; can the nodes see its folder?"


def _ended_in(queue: str, state: str) -> str:
    return f"{queue} does not know it any more" if state in ("", "ABSENT", "ENDED") else f"{queue} has it as {state}"
