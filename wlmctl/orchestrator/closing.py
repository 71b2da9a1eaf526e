"""Channels that the broker has closed with 406, of the leader and of its workers: kept in the store for ``doctor``."""

from __future__ import annotations

from collections import deque
from socket import gethostname

from wlmctl.broker.contract import Broker
from wlmctl.message import ClosedMessage
from wlmctl.orchestrator.registry import Registry
from wlmctl.store import Database, closures

#: Closures that are kept at once: a worker may say so again and again.
MOST = 100


class Closures:
    """What was heard and is not in the store yet."""

    def __init__(self, broker: Broker, registry: Registry) -> None:
        self._registry = registry
        self._heard: deque[tuple[str, str]] = deque(maxlen=MOST)
        broker.watch_closures(self._own)

    def _own(self, reason: str) -> None:
        """On the broker's thread."""
        self._heard.append((f"orchestrator on {gethostname()}", reason))

    def hear(self, message: ClosedMessage) -> None:
        """A worker's channel was closed."""
        member = self._registry.members.get(message.worker)
        where = f"{member.info.name} on {member.info.host_name}" if member is not None else message.worker
        self._heard.append((f"worker {where}", message.reason))

    def is_open(self) -> bool:
        """True when there is something to write."""
        return bool(self._heard)

    def write(self, db: Database, now_s: float) -> None:
        """Keep all that was heard; inside a transaction."""
        while self._heard:
            closures.add(db, *self._heard.popleft(), now_s)
