"""The yardstick ``typed-fifo``: a queue for each kind of job, with competing consumers, as the prototype had it."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from wlmctl.simulation.engine import RunningJob, Start
from wlmctl.simulation.site import Site
from wlmctl.simulation.workload import Shape

_Key = tuple[str, tuple[int, ...]]


class TypedFifo:
    """A queue for each (queue of the trace, set of permitted nodes): first come, first served, on any node that fits.

    The first of a queue holds up all behind it. Which node is the one to fetch it is drawn by the seed.
    """

    look_again_s: float | None = None

    def __init__(self, seed: int) -> None:
        self.decisions, self.spent_s = 0, 0.0
        self._random = random.Random(seed)
        self._queues: dict[_Key, deque[tuple[int, Shape]]] = {}
        #: The queues whose first job did not fit when it was last tried.
        self._blocked: set[_Key] = set()

    def arrived(self, job: int, shape: Shape) -> None:
        """The job goes to the end of its queue."""
        self._queues.setdefault((shape.queue, shape.permitted), deque()).append((job, shape))

    def ended(self, _running: RunningJob, _now_s: float) -> None:
        """Nothing is to be remembered."""

    def started(self, _running: RunningJob, _now_s: float) -> None:
        """Nothing is to be remembered."""

    def decide(self, site: Site, freed: AbstractSet[int], _now_s: float) -> Sequence[Start]:
        """Serve each queue until its first does not fit; the queue whose first is the eldest comes first."""
        if freed:
            self._blocked = {key for key in self._blocked if freed.isdisjoint(key[1])}
        able = [(queue[0][0], key) for key, queue in self._queues.items() if queue and key not in self._blocked]
        if not able:
            return ()
        began_s = time.thread_time()
        starts = list[Start]()
        for _, key in sorted(able):
            starts += self._serve(key, site)
        self.decisions += 1
        self.spent_s += time.thread_time() - began_s
        return starts

    def _serve(self, key: _Key, site: Site) -> Iterator[Start]:
        queue = self._queues[key]
        while queue:
            job, shape = queue[0]
            fitting = site.fitting(shape)
            if len(fitting) < shape.nodes:
                self._blocked.add(key)
                return
            places = tuple(self._random.sample(fitting, shape.nodes))
            site.take(shape, places)
            queue.popleft()
            yield Start(job, places)

    def notes(self) -> Iterable[str]:
        """Nothing to tell."""
        return ()
