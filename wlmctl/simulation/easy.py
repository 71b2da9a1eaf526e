"""The yardstick ``easy``: EASY backfill by requested walltimes, on the node that fits best."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from wlmctl.simulation.engine import RunningJob, Start
from wlmctl.simulation.site import Site
from wlmctl.simulation.waiting import Waiting
from wlmctl.simulation.workload import Shape


@dataclass(slots=True)
class _Reservation:
    """When the first job will start at the latest, and what its nodes have left over then."""

    from_s: float
    spare: dict[int, list[int]]

    def admits(self, shape: Shape, place: int, now_s: float) -> bool:
        """Whether a job on the node would leave the reservation as it is."""
        if place not in self.spare or self._is_over(shape, now_s):
            return True
        cpus, memory, gpus = self.spare[place]
        return shape.cpus <= cpus and shape.memory_bytes <= memory and shape.gpus <= gpus

    def take(self, shape: Shape, places: Iterable[int], now_s: float) -> None:
        """A job has started beside it."""
        if self._is_over(shape, now_s):
            return
        for place in places:
            if place in self.spare:
                for at, share in enumerate((shape.cpus, shape.memory_bytes, shape.gpus)):
                    self.spare[place][at] -= share

    def _is_over(self, shape: Shape, now_s: float) -> bool:
        return shape.walltime_s is not None and now_s + shape.walltime_s <= self.from_s


class Easy:
    """First come, first served; what is behind may go before it where that does not delay the first that waits."""

    look_again_s: float | None = None

    def __init__(self) -> None:
        self.decisions, self.spent_s = 0, 0.0
        self._waiting = Waiting()
        self._running: dict[int, RunningJob] = {}

    def arrived(self, job: int, shape: Shape) -> None:
        """The job waits behind all others."""
        self._waiting.add(job, shape)

    def ended(self, running: RunningJob, _now_s: float) -> None:
        """Its nodes are free again."""
        del self._running[running.job]

    def started(self, running: RunningJob, _now_s: float) -> None:
        """Its end is what reservations are made by."""
        self._running[running.job] = running

    def decide(self, site: Site, freed: AbstractSet[int], now_s: float) -> Sequence[Start]:
        """Start the first ones, reserve for the first that does not fit, and fill in behind it."""
        self._waiting.free(site, freed)
        if len(self._waiting.full) == len(self._waiting.jobs):
            return ()
        began_s = time.thread_time()
        starts = self._fill(site, now_s)
        self.decisions += 1
        self.spent_s += time.thread_time() - began_s
        return starts

    def _fill(self, site: Site, now_s: float) -> list[Start]:
        waiting, starts = self._waiting, list[Start]()
        begun = list[RunningJob]()
        heads = [(jobs[0], number) for number, jobs in waiting.jobs.items()]
        heapq.heapify(heads)
        open_shapes = len(waiting.jobs) - len(waiting.full)
        reservation: _Reservation | None = None
        while heads and open_shapes:
            job, number = heapq.heappop(heads)
            shape = waiting.shapes[number]
            is_full = number in waiting.full
            places = None if is_full else self._places(site, shape, reservation, now_s)
            if places is None:
                reservation = reservation or self._reserve(site, shape, begun, now_s)
                open_shapes -= not is_full
                continue
            site.take(shape, places)
            starts.append(Start(job, places))
            begun.append(RunningJob(job, shape, places, now_s, now_s + (shape.walltime_s or math.inf)))
            if reservation is not None:
                reservation.take(shape, places, now_s)
            waiting.remove(job, number)
            if number in waiting.jobs:
                heapq.heappush(heads, (waiting.jobs[number][0], number))
            else:
                open_shapes -= 1
        return starts

    def _places(
        self, site: Site, shape: Shape, reservation: _Reservation | None, now_s: float
    ) -> tuple[int, ...] | None:
        """The best nodes for the shape that leave the reservation alone."""
        if reservation is None:
            found = site.best_fit(shape)
            if found is None:
                self._waiting.full.add(shape.number)
            return found
        if not site.fits(shape):
            self._waiting.full.add(shape.number)
            return None
        return site.best_fit(shape, lambda place: reservation.admits(shape, place, now_s))

    def _reserve(self, site: Site, shape: Shape, begun: Sequence[RunningJob], now_s: float) -> _Reservation:
        """The earliest moment at which the shape fits, if all that runs ends as it was asked for."""
        free = {
            place: [site.free_cpus[place], site.free_memory[place], site.free_gpus[place]] for place in shape.permitted
        }
        wanted = (shape.cpus, shape.memory_bytes, shape.gpus)
        able = {
            place for place, left in free.items() if all(have >= want for have, want in zip(left, wanted, strict=True))
        }
        for running in sorted([*self._running.values(), *begun], key=lambda one: one.expected_end_s):
            if math.isinf(running.expected_end_s):
                break
            share = (running.shape.cpus, running.shape.memory_bytes, running.shape.gpus)
            for place in running.places:
                left = free.get(place)
                if left is None:
                    continue
                for at in range(3):
                    left[at] += share[at]
                if all(have >= want for have, want in zip(left, wanted, strict=True)):
                    able.add(place)
            if len(able) >= shape.nodes:
                chosen = sorted(able, key=lambda place: (free[place], place))[: shape.nodes]
                spare = {
                    place: [have - want for have, want in zip(free[place], wanted, strict=True)] for place in chosen
                }
                return _Reservation(max(now_s, running.expected_end_s), spare)
        return _Reservation(math.inf, {})  # nobody knows when

    def notes(self) -> Iterable[str]:
        """Nothing to tell."""
        return ()
