"""What a worker is told at its start."""

from __future__ import annotations

from dataclasses import dataclass

from wlmctl.message import WorkerInfo


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker is, and the times it keeps. ``is_fleet``: others may do its work, and a leader elsewhere asks.

    Without it only the own queue and the control queue are consumed, nothing is said about being alive, and what is
    delivered again is executed: the broker is this process's own.
    """

    info: WorkerInfo
    prefix: str = "wlm"
    is_fleet: bool = False
    ack_timeout_s: float = 1800.0
    heartbeat_s: float = 1.0
    redelivery_s: float = 15.0

    @property
    def longest_held_s(self) -> float:
        """How long a delivery may stay unacked: then its step is held by a lease instead."""
        return self.ack_timeout_s / 4
