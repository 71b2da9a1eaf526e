"""What batch systems ask of a login and are answered, as far as they all do it alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from shlex import quote

from wlmctl.batch import JobRef, TellsAway
from wlmctl.errors import Broken, TaskFailed, Unreachable
from wlmctl.machine import Machine
from wlmctl.transport import Completed


def raise_if_away(batch: object, machine: Machine, completed: Completed) -> None:
    """``Unreachable`` where the batch system did not answer this command: its machine is held."""
    if isinstance(batch, TellsAway) and (reason := batch.away(completed)) is not None:
        raise Unreachable(f"machine {machine.name}: {reason}")


def submitted(ref: JobRef, completed: Completed) -> JobRef:
    """``ref``, with the ``id`` of the job where one is told, when the submit says that it came to its end.

    ``TaskFailed`` with the words of a refusal; ``Broken`` when the answer is not whole.
    """
    text = completed.stdout.decode("utf-8", "replace")
    if refused := re.search(r"^wlm-refused (.*)", text, re.MULTILINE | re.DOTALL):
        raise TaskFailed(" ".join(refused[1].split()))
    done = re.search(r"^wlm-submitted ?(\d*)$", text, re.MULTILINE)
    if completed.exit_code != 0 or not done:
        said = completed.stderr.decode("utf-8", "replace").strip().splitlines()
        because = f": {said[-1]}" if said else ""
        raise Broken(f"the submit did not come to its end (exit code {completed.exit_code}){because}")
    return {**ref, "id": done[1]} if done[1] else ref


def submitted_each(refs: Mapping[int, JobRef], completed: Completed) -> dict[int, JobRef | TaskFailed | Broken]:
    """For each number what ``submitted`` returns or raises, from an answer that tells of each by its number."""
    text = completed.stdout.decode("utf-8", "replace")
    said = completed.stderr.decode("utf-8", "replace").strip().splitlines()
    because = f": {said[-1]}" if said else ""
    broken = Broken(f"the submit did not come to its end (exit code {completed.exit_code}){because}")
    answers: dict[int, JobRef | TaskFailed | Broken] = dict.fromkeys(refs, broken)
    # a line that was cut off tells nothing
    for kind, digits, words in re.findall(r"^wlm-(refused|submitted) (\d+) ?(.*)\n", text, re.MULTILINE):
        number = int(digits)
        if kind == "refused":
            answers[number] = TaskFailed(words)
        elif completed.exit_code == 0:
            answers[number] = {**refs[number], **dict(zip(("id", "pack"), words.split(), strict=False))}
    return answers


def each(jobs: Mapping[str, JobRef], offsets: Mapping[str, tuple[int, int]], *more: str) -> str:
    """The shell function ``each``, which calls ``look NUMBER FOLDER TOKEN STDOUT_OFFSET STDERR_OFFSET`` for every job.

    ``more``: further parts of the reference that ``look`` gets. Offsets are ``-`` where no new bytes are wanted.
    """
    lines = []
    for number, (key, ref) in enumerate(jobs.items()):
        stdout, stderr = offsets.get(key, ("-", "-"))
        own = " ".join(quote(ref[name]) for name in more)
        lines.append(f"look {number} {quote(ref['folder'])} {quote(ref['token'])} {stdout} {stderr} {own}\n")
    return f"each() {{\n{''.join(lines)}:\n}}\n"


def listed(completed: Completed) -> list[str] | None:
    """The lines before the end mark of a listing, or None where it is not whole."""
    lines = completed.stdout.decode("utf-8", "surrogateescape").splitlines()
    return lines[: lines.index("wlm-listed")] if completed.exit_code == 0 and "wlm-listed" in lines else None
