"""How long ago the broker was last heard: who has heard nothing for too long changes nothing that lasts."""

from __future__ import annotations

import threading
from time import monotonic

from wlmctl.broker.contract import Broker
from wlmctl.errors import Cancelled

#: Seconds after a silence in which orders to stop may come, before work goes on.
ORDERS_S = 1.0

_LOOK_S = 0.1


class Contact:
    """Others may have been given what this worker executes once nothing was confirmed for ``redelivery_s``."""

    def __init__(self, broker: Broker, redelivery_s: float) -> None:
        self._broker, self._redelivery_s = broker, redelivery_s
        self._last_s = monotonic()
        self._free_s = 0.0

    @property
    def is_silent(self) -> bool:
        """True while nothing was heard for too long. A broker that takes nothing, by an alarm, has lost nobody."""
        return monotonic() - self._last_s > self._redelivery_s and self._broker.state.what != "blocked"

    def confirmed(self) -> None:
        """The broker has confirmed a heartbeat."""
        now_s = monotonic()
        if now_s - self._last_s > self._redelivery_s:
            self._free_s = now_s + ORDERS_S
        self._last_s = now_s

    def hold(self, stopped: threading.Event) -> None:
        """Return when work may have lasting effects; raises ``Cancelled`` when it is stopped meanwhile."""
        while self.is_silent or monotonic() < self._free_s:
            if stopped.wait(_LOOK_S):
                raise Cancelled("cancelled")
