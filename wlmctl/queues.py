"""Names of queues under a deployment's prefix.

A worker's id begins with the login it has at the broker, ``<broker user>.<name>-<6 characters>``, so that a user of
the broker may be kept to the queues of its own workers (``<prefix>.worker.<broker user>.*``).
"""

from __future__ import annotations

import re

RESULTS = "{prefix}.results"
DEAD = "{prefix}.dead"


def queue_word(text: str) -> str:
    """The text as it may stand in the name of a queue, or in a worker's id."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "worker"


def type_queue(prefix: str, task_type: str) -> str:
    """The shared queue of a task type, for dispatches that each of its consumers can do."""
    return f"{prefix}.work.{task_type}"


def worker_queue(prefix: str, worker: str) -> str:
    """The queue of one worker, for dispatches that only it is to do."""
    return f"{prefix}.worker.{worker}"


def control_queue(prefix: str, worker: str) -> str:
    """The queue of one worker for what is no dispatch: orders to stop, polls, probes, permits."""
    return f"{prefix}.worker.{worker}.control"


def marks_queue(prefix: str, worker: str) -> str:
    """The queue of one worker for marks, which it takes without ack among its deliveries."""
    return f"{prefix}.worker.{worker}.marks"
