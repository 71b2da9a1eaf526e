"""Names of queues under a deployment's prefix."""

from __future__ import annotations

RESULTS = "{prefix}.results"
DEAD = "{prefix}.dead"


def work_queue(prefix: str) -> str:
    """The shared queue of work."""
    return f"{prefix}.work"


def control_queue(prefix: str, worker: str) -> str:
    """The queue of one worker, for what concerns only it."""
    return f"{prefix}.worker.{worker}.control"
