"""The scheduler ``matchmaking``: tasks to machines and workers by flow, by bands, at least cost."""

from __future__ import annotations

from collections.abc import Mapping

import wlmctl
from wlmctl.scheduler import SchedulerFactory


@wlmctl.hookimpl
def wlmctl_schedulers() -> Mapping[str, SchedulerFactory]:
    """Offer ``matchmaking``."""
    from wlmctl_scheduler_matchmaking.scheduler import Matchmaking

    return {"matchmaking": Matchmaking}
