"""What is to be minded with the next dispatches of a task."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Care:
    """What is to be minded with a task: it may kill workers, or workers would not have it."""

    kills: int = 0
    #: So many workers died while they started it together with many others.
    deaths_together: int = 0
    #: The worker says that it begins before it does.
    is_careful: bool = False
    #: It goes to the queue of one worker.
    is_single: bool = False
    #: Workers that have declined it.
    refused: set[str] = field(default_factory=set)
