"""Jobs that are submitted by one command: what the queue gets as one, and the text of the command."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

from wlmctl.batch import BatchJob, Command
from wlmctl.jobs.texts import assignments

#: A submit may wait for a lock, two listings, and a command that tries again by itself.
SUBMIT_TIMEOUT_S = 300.0
#: What a queue that answers slowly may take for each further job.
FURTHER_TIMEOUT_S = 2.0
#: So many alike jobs at least are worth an array.
ARRAY_LEAST = 4
#: Slurm's MaxArraySize, less one, unless a site says otherwise.
ARRAY_MOST = 1000


@dataclass(frozen=True, slots=True)
class Unit:
    """What the queue gets as one, by the numbers of the jobs that it runs.

    ``words`` are for the submitting command; ``run`` is the batch script behind the lines that say folder and token.
    ``kind`` is ``single``, ``array``, of which ``together`` may run at once, or ``pack``.
    """

    kind: str
    numbers: Sequence[int]
    words: Sequence[str]
    run: str
    name: str = ""
    together: int | None = None

    def call(self, run: str) -> str:
        """The call of the shell function; ``run`` is the name of the variable that holds it."""
        words = "".join(f" {quote(word)}" for word in self.words)
        if self.kind == "single":
            return f'single {self.numbers[0]} "${run}"{words}\n'
        numbers = quote(" ".join(map(str, self.numbers)))
        return f'group {self.kind} {self.name} {quote(str(self.together or ""))} {numbers} "${run}"{words}\n'


def chunks(jobs: Mapping[int, BatchJob], arrays: bool) -> list[tuple[str, list[int]]]:
    """The kind and the numbers of each unit: packs are full as far as they can be, what is left alone is single."""
    groups: dict[object, list[int]] = {}
    for number, job in jobs.items():
        alike = (job.experiment, job.group, job.pack, job.together, job.resources, repr(job.options))
        groups.setdefault(alike if job.group else number, []).append(number)
    units: list[tuple[str, list[int]]] = []
    for numbers in groups.values():
        pack = jobs[numbers[0]].pack
        most = pack if pack > 1 else ARRAY_MOST if arrays and len(numbers) >= ARRAY_LEAST else 1
        for start in range(0, len(numbers), most):
            chunk = numbers[start : start + most]
            kind = "single" if len(chunk) == 1 else "pack" if pack > 1 else "array"
            units.append((kind, chunk))
    return units


def group_name(kind: str, jobs: Iterable[BatchJob]) -> str:
    """The name of an array or a pack of these jobs in this order."""
    tokens = " ".join([kind, *(job.token for job in jobs)])
    return job_name(hashlib.sha256(tokens.encode()).hexdigest()[:32])


def submit_command(
    jobs: Mapping[int, BatchJob], scripts: Mapping[int, str], units: Iterable[Unit], texts: str, **values: str
) -> Command:
    """One command that submits the units; what many of them share travels once. ``values``: further variables."""
    runs: dict[str, str] = {}
    calls = [unit.call(runs.setdefault(unit.run, f"run_{len(runs)}")) for unit in units]
    lines = [
        assignments(jobs=" ".join(map(str, jobs)), **values),
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
        "h": _lines(job),
    }
    return assignments(**{f"{letter}_{number}": value for letter, value in own.items()})


def _lines(job: BatchJob) -> str:
    """What says in a batch script whose job it is."""
    return assignments(folder=job.folder, token=job.token).rstrip("\n")


def batch_text(unit: Unit, jobs: Mapping[int, BatchJob], index: str) -> tuple[list[str], str]:
    """Further words for the submitting command, and the batch script, as ``submit.sh`` makes them on the machine."""
    own = [_lines(job) for job in jobs.values()]
    if unit.kind == "pack":
        return [], "#!/bin/sh\n" + unit.run + "\n" + "".join(f"{each}\nmember\n" for each in own)
    if unit.kind == "array":
        places = ",".join(map(str, range(len(own)))) + (f"%{unit.together}" if unit.together else "")
        cases = "".join(f"{place}) {each} ;;\n" for place, each in enumerate(own))
        return [f"--array={places}"], f"#!/bin/sh\ncase {index} in\n{cases}*) exit 96 ;;\nesac\n{unit.run}"
    return [], f"#!/bin/sh\n{own[0]}\n{unit.run}"


def job_name(token: str) -> str:
    """The name under which a queue has the job: 15 characters, which is all that Torque takes."""
    return "w" + base64.b32encode(bytes.fromhex(token)).decode("ascii")[:14].lower()
