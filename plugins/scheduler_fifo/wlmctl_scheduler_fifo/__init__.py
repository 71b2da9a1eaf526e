"""The scheduler ``fifo``: higher priority first, then the order of submission."""

from __future__ import annotations

from collections.abc import Mapping

import wlmctl
from wlmctl.scheduler import SchedulerFactory


@wlmctl.hookimpl
def wlmctl_schedulers() -> Mapping[str, SchedulerFactory]:
    """Offer ``fifo``."""
    from wlmctl_scheduler_fifo.scheduler import Fifo

    return {"fifo": Fifo}
