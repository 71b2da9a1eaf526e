"""The jobs that wait, by shape, and which shapes are known to have no room: those are not tried until that changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from wlmctl.simulation.site import Site
from wlmctl.simulation.workload import Shape


class Waiting:
    """``jobs`` are the positions of the waiting jobs of each shape, the eldest first; empty shapes are not there.

    ``all`` has the same jobs as one set.
    """

    def __init__(self) -> None:
        self.jobs: dict[int, list[int]] = {}
        self.all: set[int] = set()
        self.shapes: dict[int, Shape] = {}
        #: Shapes with new jobs, or with room that was not there before: what may have become possible.
        self.changed: set[int] = set()
        #: Shapes that did not fit when they were last tried.
        self.full: set[int] = set()
        self._permitted: dict[int, frozenset[int]] = {}

    def add(self, job: int, shape: Shape) -> None:
        """A job waits from now on; jobs come in their order."""
        if shape.number not in self.jobs:
            self.jobs[shape.number] = []
            self.shapes[shape.number] = shape
            self._permitted.setdefault(shape.number, frozenset(shape.permitted))
        self.jobs[shape.number].append(job)
        self.all.add(job)
        self.changed.add(shape.number)

    def remove(self, job: int, number: int) -> None:
        """The job waits no longer."""
        jobs = self.jobs[number]
        jobs.remove(job)
        self.all.remove(job)
        if not jobs:
            del self.jobs[number], self.shapes[number]
            self.full.discard(number)
            self.changed.discard(number)

    def free(self, site: Site, freed: Collection[int]) -> None:
        """Nodes have got more room: the shapes that may use it have changed."""
        if not freed:
            return
        for number, shape in self.shapes.items():
            permitted = self._permitted[number]
            if any(place in permitted and site.has_room(shape, place) for place in freed):
                self.changed.add(number)
                self.full.discard(number)

    def fits(self, site: Site, number: int) -> bool:
        """Whether a job of the shape could start now."""
        if number in self.full:
            return False
        if site.fits(self.shapes[number]):
            return True
        self.full.add(number)
        return False

    def any_fits(self, site: Site, numbers: Iterable[int]) -> bool:
        """Whether a job of any of these shapes could start now."""
        return any(number in self.shapes and self.fits(site, number) for number in numbers)
