"""The numbered points of the code: lines ``# point N: what has happened``, in Python and in the texts for machines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_LINE = re.compile(r"^ *# point (\d+): (.*)$", re.MULTILINE)

#: Where points are: modules, and the packages of texts.
MODULES = (
    "wlmctl.orchestrator.loop",
    "wlmctl.worker.slots",
    "wlmctl.worker.worker",
    "wlmctl.worker.control",
    "wlmctl_task_job.job",
    "wlmctl_task_job.together",
)
TEXTS = ("wlmctl.jobs.queue/submit", "wlmctl.jobs.queue/cancel", "wlmctl.jobs.queue/pack", "wlmctl.jobs/wrapper")

#: Points of what is done for many jobs at once, and their names where it is done for one: a job comes to either.
OF_MANY = {
    "slots.3": "slots.1",
    "slots.4": "slots.2",
    **{f"together.{number}": f"job.{number}" for number in (1, 2, 3)},
}


@dataclass(frozen=True, slots=True)
class Point:
    """A place between two steps. ``file`` is the stem of the file it is in, ``what`` its comment."""

    file: str
    number: int
    what: str

    @property
    def name(self) -> str:
        """As faults name it."""
        return f"{self.file}.{self.number}"


def path_of(where: str) -> Path:
    """The file of a module, or of a text as ``TEXTS`` names it."""
    package, _, text = where.partition("/")
    spec = find_spec(package)
    assert spec is not None, package
    assert spec.origin is not None, package
    return Path(spec.origin).with_name(f"{text}.sh") if text else Path(spec.origin)


def points() -> Sequence[Point]:
    """All points, in the order of the files; those of a file are numbered from 1 on."""
    found = list[Point]()
    for where in (*MODULES, *TEXTS):
        path = path_of(where)
        here = [Point(path.stem, int(number), what) for number, what in _LINE.findall(path.read_text("utf-8"))]
        assert {point.number for point in here} == set(range(1, len(here) + 1)), f"{path}: a number is missing or twice"
        found += sorted(here, key=lambda point: point.number)
    return found
