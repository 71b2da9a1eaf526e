"""Messages on their way, and the queues that take none.

RabbitMQ 3.10 can come back from a crash with a quorum queue that never has a leader. Whoever publishes to it hangs,
with all that was published behind, and then the broker reads nothing more of the connection, no ack either. So the
connection is given up, and the queue left out for a while.
"""

from __future__ import annotations

import logging
from collections.abc import Set

from wlmctl.broker.contract import Outgoing
from wlmctl.errors import WlmctlError

log = logging.getLogger(__name__)

#: Ticks of the link without a confirm after which a queue is stuck, and those in which it is left out then.
PATIENCE_TICKS, LEFT_OUT_TICKS = 30, 120


class Post:
    """One message on its way."""

    __slots__ = ("error", "headers", "is_bound", "message", "nacks", "sent_tick", "tries")

    def __init__(self, message: Outgoing, headers: dict[str, str] | None = None) -> None:
        self.message, self.headers, self.is_bound = message, headers, False
        self.tries = self.nacks = self.sent_tick = 0
        self.error: WlmctlError | None = None


class StuckQueues:
    """Finds them by their oldest unconfirmed message, but for ``ends``, whose place no other queue can take.

    ``now`` counts the link's ticks.
    """

    def __init__(self, ends: Set[str]) -> None:
        self.now = 0
        self._ends = ends
        self._until: dict[str, int] = {}

    def __contains__(self, queue: str) -> bool:
        return bool(self._until) and self._until.get(queue, 0) > self.now

    def tick(self, oldest: Post | None) -> str | None:
        """One tick later: the queue that has just been found stuck, if one was."""
        self.now += 1
        if oldest is None or self.now < oldest.sent_tick + PATIENCE_TICKS:
            return None
        queue = oldest.message.queue
        if queue in self._ends:
            return None
        log.warning("queue %s takes no messages", queue)
        self._until[queue] = self.now + LEFT_OUT_TICKS
        return queue
