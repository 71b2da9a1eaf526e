"""How many deliveries of each queue a worker takes at once: its free slots, and what it will finish in a moment."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from time import monotonic

from wlmctl.batch import MANY
from wlmctl.broker.contract import Channel

#: A queue's rate is what was finished of it in this many looks, each this many seconds long.
LOOKS, LOOK_S = 10, 0.1


class Credit:
    """The credit of the queues with dispatches; changed by one thread alone, told by many what is finished.

    Beside its slots less the leased ones a queue gets what was finished of it in 100 ms, by the last second; and the
    ``own`` one, to which a leader sends no more than fits, what one slot may execute together. A change costs the
    broker a consumer: so it is raised by more than a quarter, and lowered by more than half, or where nothing is
    finished.
    """

    def __init__(
        self,
        channel: Channel,
        queues: Sequence[str],
        slots: int,
        gone: Mapping[str, Callable[[], None]],
        moving: Collection[str] = (),
        own: str = "",
    ) -> None:
        self._channel, self.queues, self._slots, self._gone = channel, queues, slots, gone
        self._own = own
        #: Queues of what moves data, for which the last slot is not.
        self._moving = frozenset(moving) if slots > 1 else frozenset()
        self._lock = threading.Lock()
        self._finished = defaultdict[str, float](float)
        self._looks: deque[Mapping[str, float]] = deque(maxlen=LOOKS)
        self._given = dict.fromkeys(queues, 0)
        self._looked_s = monotonic()
        self._paused: Collection[str] = ()
        self._extra = 0

    def finished(self, queue: str, count: float = 1.0) -> None:
        """So much of the deliveries of this queue has ended."""
        with self._lock:
            self._finished[queue] += count

    @property
    def is_raised(self) -> bool:
        """True while any queue has so much more than the slots that it must come down when the work gets slower."""
        return any(4 * given > 5 * self._most(queue) for queue, given in self._given.items())

    def _most(self, queue: str) -> int:
        """What a queue gets while nothing is finished and nothing leased."""
        return self._slots + (MANY if queue == self._own else 0)

    def pause(self, queues: Collection[str], extra: int = 0) -> None:
        """Take nothing new of these queues, and so many more of the others, from the next look on."""
        self._paused, self._extra = queues, extra

    def look(self, leased: int) -> None:
        """Come to the credit of this moment; to be called often."""
        now_s = monotonic()
        if now_s - self._looked_s >= LOOK_S:
            with self._lock:
                finished, self._finished = self._finished, defaultdict(float)
            # a look that came late counts for as many as it has taken
            for _ in range(min(LOOKS, round((now_s - self._looked_s) / LOOK_S)) - 1):
                self._looks.append({})
            self._looks.append(finished)
            self._looked_s = now_s
        for queue in self.queues:
            free = max(0, self._slots - leased - (queue in self._moving))
            base = free + self._most(queue) - self._slots if free else 0
            ahead = int(sum(look.get(queue, 0.0) for look in self._looks) / LOOKS) if base else 0
            self._give(queue, 0 if queue in self._paused else base + ahead + self._extra, base)

    def _give(self, queue: str, wanted: int, base: int) -> None:
        given = self._given[queue]
        if wanted > given:
            is_due = 4 * (wanted - given) > given or given < base
        else:
            is_due = 2 * wanted < given or wanted <= base
        if is_due and wanted != given:
            self._given[queue] = wanted
            self._channel.consume(queue, wanted, gone=self._gone.get(queue))
