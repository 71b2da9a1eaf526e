"""Jobs that are submitted by one command: what the queue gets as one, and the text of the command."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

from wlmctl.batch import BatchJob, Command
from wlmctl.jobs.texts import assignments

#: A submit may wait for a lock, two listings, and a command that tries again by itself.
SUBMIT_TIMEOUT_S = 300.0
#: What a queue that answers slowly may take for each further job.
FURTHER_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Unit:
    """One job for the queue, by the number of what it runs. ``words`` are for the submitting command, ``run`` is the
    batch script behind the lines that say folder and token."""

    number: int
    words: Sequence[str]
    run: str


def submit_command(
    jobs: Mapping[int, BatchJob], scripts: Mapping[int, str], units: Iterable[Unit], texts: str, **values: str
) -> Command:
    """One command that submits the units; what many of them share travels once. ``values``: further variables."""
    runs: dict[str, str] = {}
    calls = []
    for unit in units:
        run = runs.setdefault(unit.run, f"run_{len(runs)}")
        calls.append(f'unit {unit.number} "${run}" {" ".join(map(quote, unit.words))}\n')
    lines = [
        assignments(count=max(jobs, default=-1) + 1, **values),
        assignments(**{name: text for text, name in runs.items()}),
        *(_own(number, job, scripts[number]) for number, job in jobs.items()),
        f"units() {{\n{''.join(calls)}:\n}}\n",
        texts,
        # at the end, so that nothing is done of a text that was cut off
        "submit_all </dev/null\n",
    ]
    text = "".join(lines).encode("utf-8", "surrogateescape")
    return Command("exec sh", text, SUBMIT_TIMEOUT_S + FURTHER_TIMEOUT_S * max(0, len(jobs) - 1))


def _own(number: int, job: BatchJob, script: str) -> str:
    own = {
        "f": job.folder,
        "d": job.directory,
        "n": job_name(job.token),
        "t": script,
        "h": assignments(folder=job.folder, token=job.token).rstrip("\n"),
    }
    return assignments(**{f"{letter}_{number}": value for letter, value in own.items()})


def job_name(token: str) -> str:
    """The name under which a queue has the job: 15 characters, which is all that Torque takes."""
    return "w" + base64.b32encode(bytes.fromhex(token)).decode("ascii")[:14].lower()
