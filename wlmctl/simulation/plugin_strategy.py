"""A scheduler plugin in a simulation: the snapshots it is shown, and what is legal in its decisions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from wlmctl.scheduler import Assignment, Decision, Scheduler
from wlmctl.simulation.asking import decided
from wlmctl.simulation.engine import RunningJob, Start
from wlmctl.simulation.picture import Picture
from wlmctl.simulation.site import Site
from wlmctl.simulation.waiting import Waiting
from wlmctl.simulation.workload import Problem, Shape

#: So often a scheduler may ask in vain to be asked again while nothing happens and nothing runs.
_PATIENCE = 1000


class PluginStrategy:
    """Asks a scheduler whenever a group that has changed can be placed, as the core does.

    Its assignments are checked: what is no waiting job, or does not fit, is refused and told at the end.
    """

    def __init__(self, name: str, scheduler: Scheduler, problem: Problem, seed: int) -> None:
        self.decisions, self.spent_s = 0, 0.0
        self.look_again_s: float | None = None
        self._name, self._scheduler = name, scheduler
        self._waiting = Waiting()
        self._picture = Picture(problem, self._waiting, seed)
        self._places = {node.name: place for place, node in enumerate(problem.nodes)}
        #: Groups that fit and were not placed: something was kept free for others.
        self._held_back: set[int] = set()
        #: Nodes that the simulation itself has given away in the decision at hand.
        self._given: set[int] = set()
        self._in_vain = 0
        self._refused: list[str] = []
        self._refusals = 0

    def arrived(self, job: int, shape: Shape) -> None:
        """The job joins the group of its equals."""
        self._waiting.add(job, shape)

    def ended(self, running: RunningJob, now_s: float) -> None:
        """It is under way no longer."""
        self._picture.ended(running, now_s)

    def started(self, running: RunningJob, now_s: float) -> None:
        """It is shown as under way from now on."""
        self._picture.started(running, now_s)

    def decide(self, site: Site, freed: AbstractSet[int], now_s: float) -> Sequence[Start]:
        """What the scheduler wants, as far as it is legal."""
        waiting = self._waiting
        waiting.free(site, freed)
        is_due = self.look_again_s is not None and self.look_again_s <= now_s
        if is_due:
            self.look_again_s = None
        asks = (is_due and waiting.jobs) or waiting.any_fits(site, waiting.changed)
        if not asks and (freed or waiting.changed):
            asks = waiting.any_fits(site, self._held_back)
        if not asks:
            waiting.changed.clear()
            return ()
        decision = self._ask(site, now_s)
        starts = list(self._legal(decision, site))
        candidates = waiting.changed | self._held_back
        self._held_back = {number for number in candidates if number in waiting.jobs and waiting.fits(site, number)}
        waiting.changed.clear()
        self._look_again(decision, now_s, is_idle=not starts and not freed)
        return starts

    def _ask(self, site: Site, now_s: float) -> Decision:
        snapshot = self._picture.snapshot(site, now_s)
        began_s = time.thread_time()
        decision = decided(self._name, self._scheduler, snapshot, "in the simulation")
        self.spent_s += time.thread_time() - began_s
        self.decisions += 1
        self._picture.reservations = tuple(decision.reservations)
        return decision

    def _look_again(self, decision: Decision, now_s: float, is_idle: bool) -> None:
        self._in_vain = self._in_vain + 1 if is_idle else 0
        after_s = decision.look_again_s
        wants_to = after_s is not None and bool(self._waiting.jobs) and self._in_vain < _PATIENCE
        self.look_again_s = now_s + max(1.0, after_s or 0.0) if wants_to else None

    def _legal(self, decision: Decision, site: Site) -> Iterator[Start]:
        self._given.clear()
        for assignment in decision.assignments:
            found = self._picture.find(assignment.task)
            if found is None:
                self._refuse(f"{assignment.task} is no waiting job, or is assigned twice")
                continue
            job, shape = found
            places = self._chosen(assignment, shape, site)
            if places is None:
                continue
            site.take(shape, places)
            self._waiting.remove(job, shape.number)
            self._picture.touch(places)
            yield Start(job, places)

    def _chosen(self, assignment: Assignment, shape: Shape, site: Site) -> tuple[int, ...] | None:
        """The nodes of an assignment, completed from those that have room where it does not name them all."""
        if assignment.machine is None and not self._waiting.fits(site, shape.number):
            return None  # any node would do, and none has room: later
        named = [] if assignment.machine is None else [assignment.machine, *assignment.more]
        places = [self._places.get(name, -1) for name in named]
        if len(set(places)) < len(places) or len(places) > shape.nodes:
            self._refuse(f"a job of {shape.nodes} node(s) is assigned to {', '.join(named)}")
            return None
        for name, place in zip(named, places, strict=True):
            if place not in shape.permitted:
                self._refuse(f"a job that may not run there is assigned to {name}")
                return None
            if not site.has_room(shape, place):
                if place in self._given:
                    return None  # it had room when the scheduler named it: later
                self._refuse(f"a job with {shape.cpus} cpus is assigned to {name}, which has no room for it")
                return None
        if len(places) < shape.nodes:
            own = [place for place in site.fitting(shape) if place not in places][: shape.nodes - len(places)]
            self._given.update(own)
            places += own
        return tuple(places) if len(places) == shape.nodes else None

    def _refuse(self, text: str) -> None:
        self._refusals += 1
        if len(self._refused) < 1:
            self._refused.append(text)

    def notes(self) -> Iterable[str]:
        """What it wanted and could not have."""
        if self._refusals:
            yield f"{self._refusals} assignments of {self._name} were refused; the first: {self._refused[0]}"
