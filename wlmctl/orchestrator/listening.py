"""A clock that runs only while the leader hears its workers.

The leader sends itself numbered pulses through the queue of results. One that comes back proves that the broker takes
and brings messages, and that all that waited before it has been read; a leader that was stopped, cut off or held up
has learnt nothing meanwhile, and must not count that time against anybody.
"""

from __future__ import annotations

import secrets

#: Seconds between two pulses, and the most that one of them moves the clock. Pulses that were held up on their way and
#: come back together move it once: what workers said meanwhile came before them, all at one time.
PULSE_S, STEP_S = 0.5, 1.0


class Listening:
    """``now_s`` counts the seconds in which workers could be heard."""

    def __init__(self) -> None:
        self.now_s = 0.0
        # no pulse of another leader is taken for one of this, and none that somebody makes up
        self._number = secrets.randbits(60)
        self._sent: dict[int, float] = {}
        self._sent_s = self._heard_s = self._came_s = -PULSE_S
        self._is_running = False

    @property
    def next_s(self) -> float:
        """When the next pulse is due, on the monotonic clock."""
        return self._sent_s + PULSE_S

    def pulse(self, now: float) -> int | None:
        """The number of the pulse to send now, or None."""
        if now < self.next_s:
            return None
        self._number += 1
        self._sent[self._number] = self._sent_s = now
        while len(self._sent) > 20:
            del self._sent[next(iter(self._sent))]
        return self._number

    def heard(self, number: int, now: float) -> None:
        """A pulse has come back: until it was sent, everything has been heard."""
        sent_s = self._sent.get(number)
        if sent_s is None:
            return
        if self._is_running:
            self.now_s += min(max(0.0, sent_s - self._heard_s), now - self._came_s, STEP_S)
        self._heard_s, self._came_s, self._is_running = sent_s, now, True
        self._sent = {other: when for other, when in self._sent.items() if other > number}

    def interrupted(self) -> None:
        """The connection was lost: the clock stands until a new pulse has come back."""
        self._sent.clear()
        self._is_running = False
