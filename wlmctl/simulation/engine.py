"""The discrete-event simulation: time jumps from one arrival or end to the next, and a strategy decides at each."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from wlmctl.simulation.site import Site
from wlmctl.simulation.workload import Problem, Shape

#: ``progress(done, total)``: so many of the jobs have ended.
Progress = Callable[[int, int], None]

#: How many events lie between two words about progress.
_TELL_EACH = 200


@dataclass(frozen=True, slots=True)
class Start:
    """A job starts now on these nodes; both are positions."""

    job: int
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job under way. ``expected_end_s`` is by the requested walltime; infinite where none was asked for."""

    job: int
    shape: Shape
    places: tuple[int, ...]
    start_s: float
    expected_end_s: float


class Strategy(Protocol):
    """Who decides in a simulation. ``decisions`` and ``spent_s``: how often it has, and in what processor time."""

    decisions: int
    spent_s: float
    #: When it wants to be asked although nothing happens; None: never.
    look_again_s: float | None

    def arrived(self, job: int, shape: Shape, /) -> None:
        """A job waits from now on."""
        ...

    def ended(self, running: RunningJob, now_s: float, /) -> None:
        """A job is over; its nodes are free again."""
        ...

    def started(self, running: RunningJob, now_s: float, /) -> None:
        """A job that ``decide`` named has started."""
        ...

    def decide(self, site: Site, freed: AbstractSet[int], now_s: float, /) -> Sequence[Start]:
        """What starts now, already taken from ``site``. ``freed``: the nodes where something has just ended."""
        ...

    def notes(self) -> Iterable[str]:
        """What the user should know about how it decided."""
        ...


@dataclass(slots=True)
class Outcome:
    """When each job started, on which nodes: None for one that never did. ``notes`` are for the user."""

    problem: Problem
    start_s: list[float | None] = field(default_factory=list)
    places: list[tuple[int, ...]] = field(default_factory=list)
    decisions: int = 0
    spent_s: float = 0.0
    notes: list[str] = field(default_factory=list)


def simulate(problem: Problem, strategy: Strategy, progress: Progress = lambda *_: None) -> Outcome:
    """Play the whole workload with the strategy; the same strategy and problem give the same outcome."""
    play = _Play(problem, strategy)
    ended = steps = 0
    while (now_s := play.next_s()) is not None:
        ended += play.step(now_s)
        steps += 1
        if steps % _TELL_EACH == 0:
            progress(ended, len(problem.jobs))
    progress(ended, len(problem.jobs))
    return play.outcome()


class _Play:
    """One simulation under way."""

    def __init__(self, problem: Problem, strategy: Strategy) -> None:
        self._problem, self._strategy = problem, strategy
        self._site = Site(problem.nodes)
        self._ends: list[tuple[float, int, RunningJob]] = []
        self._arrived = 0
        count = len(problem.jobs)
        self._start_s: list[float | None] = [None] * count
        self._places: list[tuple[int, ...]] = [()] * count

    def next_s(self) -> float | None:
        """When something happens next; None: never again."""
        times = [self._ends[0][0]] if self._ends else []
        if self._arrived < len(self._problem.jobs):
            times.append(self._problem.jobs[self._arrived].arrive_s)
        if (again_s := self._strategy.look_again_s) is not None:
            times.append(again_s)
        return min(times, default=None)

    def step(self, now_s: float) -> int:
        """Everything that happens at one moment, and what is decided then; how many jobs have ended."""
        jobs, shapes = self._problem.jobs, self._problem.shapes
        freed, ended = set[int](), 0
        while self._ends and self._ends[0][0] <= now_s:
            running = heapq.heappop(self._ends)[2]
            self._site.give_back(running.shape, running.places)
            freed.update(running.places)
            self._strategy.ended(running, now_s)
            ended += 1
        while self._arrived < len(jobs) and jobs[self._arrived].arrive_s <= now_s:
            self._strategy.arrived(self._arrived, shapes[self._arrived])
            self._arrived += 1
        for start in self._strategy.decide(self._site, freed, now_s):
            self._begin(start, now_s)
        return ended

    def _begin(self, start: Start, now_s: float) -> None:
        job, shape = self._problem.jobs[start.job], self._problem.shapes[start.job]
        expected_s = now_s + shape.walltime_s if shape.walltime_s is not None else float("inf")
        running = RunningJob(start.job, shape, start.places, now_s, expected_s)
        self._start_s[start.job], self._places[start.job] = now_s, start.places
        heapq.heappush(self._ends, (now_s + job.run_s, start.job, running))
        self._strategy.started(running, now_s)

    def outcome(self) -> Outcome:
        """What came of it."""
        notes = [*self._strategy.notes()]
        if never := sum(start_s is None for start_s in self._start_s):
            notes.append(f"{never} of {len(self._start_s)} jobs were never started")
        return Outcome(
            self._problem, self._start_s, self._places, self._strategy.decisions, self._strategy.spent_s, notes
        )
