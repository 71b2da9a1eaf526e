"""The answer of a command about jobs, taken apart: nothing in it counts unless its end mark is there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from wlmctl.batch import JobRef
from wlmctl.task import PollAnswer, Running, Unknown
from wlmctl.transport import Completed


@dataclass(slots=True)
class Section:
    """What was told about one job: its verdict in words, whether a cancel is in force, the ends of its logs.

    ``state`` and ``said`` are the word of the queue for its end and its reason, where there is a queue that gives them.
    """

    cancelled: bool = False
    words: list[str] = field(default_factory=list)
    stdout: bytes = b""
    stderr: bytes = b""
    state: str = ""
    said: str = ""


Judge = Callable[[JobRef, Section], PollAnswer]


def answers(jobs: Mapping[str, JobRef], completed: Completed, judge: Judge) -> dict[str, PollAnswer]:
    """The answer for each job, in the order in which the command was given them; one not told of is running."""
    sections = _read(completed)
    if isinstance(sections, str):
        return {key: Unknown(sections) for key in jobs}
    return {
        key: judge(ref, sections[number]) if number in sections else Running()
        for number, (key, ref) in enumerate(jobs.items())
    }


def _read(completed: Completed) -> dict[int, Section] | str:
    """The sections by the number of the job, or why the answer does not count."""
    begin = re.search(rb"^wlm-begin ([0-9a-f]{32})$", completed.stdout, re.MULTILINE)
    if completed.exit_code != 0 or begin is None:
        said = completed.stderr.decode("utf-8", "replace").strip().splitlines()
        return f"the machine's answer is not whole (exit code {completed.exit_code}{': ' + said[-1] if said else ''})"
    chunks = completed.stdout[begin.end() :].split(b"\n" + begin[1] + b" ")[1:]
    if not chunks or chunks[-1].strip() != b"end":
        return "the machine's answer is cut off"
    sections: dict[int, Section] = {}
    for chunk in chunks[:-1]:
        head, _, body = chunk.partition(b"\n")
        kind, number, *rest = head.decode("utf-8", "replace").split(" ")  # a broken exit file has anything
        section = sections.setdefault(int(number), Section())
        match kind:
            case "stdout":
                section.stdout = body
            case "stderr":
                section.stderr = body
            case "state":
                section.state, section.said = rest[0], " ".join(rest[1:])
            case "starting" | "unsealed":
                section.words = [kind]
            case _:
                section.cancelled, section.words = rest[0] == "1", rest[1:]
    return sections
