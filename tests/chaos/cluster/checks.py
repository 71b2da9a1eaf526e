"""What must hold of jobs with faults, each as a function that gives what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tests.services.slurm import Slurm
from wlmctl.store.rows import TaskRow

#: The exit code of the jobs whose number can be divided by ``ODD``; of all others it is 0.
ODD, ODD_CODE = 5, 3

_LIVING = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD")


def went_to_their_ends(tasks: Sequence[TaskRow], folder: Path) -> Iterator[str]:
    """Each job's exit code is known, and its command ran once an attempt, in the last one in any case."""
    for task in tasks:
        code = ODD_CODE if int(task.name.partition("[")[2].rstrip("]")) % ODD == 0 else 0
        if (task.state, task.exit_code) != ("failed" if code else "succeeded", code):
            yield f"{task.name} is {task.state} with exit code {task.exit_code}, not {code}: {task.reason}"
        ran = _ran(folder, task)
        if ran[-1:] != [1]:
            yield f"{task.name}: the command of its last attempt, {task.attempt}, ran {ran[-1:]} times"
        if max(ran) > 1:
            yield f"{task.name}: its command ran {ran} times in its attempts"


def were_cancelled(tasks: Sequence[TaskRow], folder: Path) -> Iterator[str]:
    """Each is cancelled, but for what a controller without memory had killed before; none ran twice in an attempt."""
    for task in tasks:
        if task.state != "cancelled" and (task.state, task.failure_class) != ("failed", "infra"):
            yield f"{task.name} is {task.state}, not cancelled: {task.reason}"
        if max(ran := _ran(folder, task), default=0) > 1:
            yield f"{task.name}: its command ran {ran} times in its attempts"


def _ran(folder: Path, task: TaskRow) -> list[int]:
    """How often the command ran in each attempt."""
    lines = []
    for attempt in range(1, task.attempt + 1):
        witness = folder / f"witness-{task.name}-{attempt}"
        lines.append(len(witness.read_text().splitlines()) if witness.exists() else 0)
    return lines


def nothing_in_the_queue(slurm: Slurm) -> Iterator[str]:
    """No job waits or runs."""
    for number, state, name in slurm.queue():
        if state in _LIVING:
            yield f"job {number} ({name}) is left in the queue as {state}"


def nothing_runs(slurm: Slurm) -> Iterator[str]:
    """No process of a job lives."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            environ = (entry / "environ").read_bytes().split(b"\0")
            is_job = any(each.startswith(b"WLMCTL_TOKEN=") for each in environ)
            if is_job and f"SLURM_CONF={slurm.env['SLURM_CONF']}".encode() in environ:
                what = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if what:
                    yield f"process {entry.name} of a job is left: {what[:200]}"
