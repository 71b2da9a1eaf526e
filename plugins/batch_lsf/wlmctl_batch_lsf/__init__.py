"""The batch system ``lsf``: jobs of a LSF cluster, each submitted and started at most once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import wlmctl

if TYPE_CHECKING:
    from wlmctl.batch import BatchFactory, BatchSystem
    from wlmctl.machine import Machine


def open_lsf(machine: Machine, options: Mapping[str, Any]) -> BatchSystem:
    """The jobs of ``machine``; ``options`` are the defaults of ``LsfOptions``."""
    from wlmctl_batch_lsf.options import LsfOptions
    from wlmctl_batch_lsf.system import LsfBatch

    return LsfBatch(machine, LsfOptions.of(machine, options))


@wlmctl.hookimpl
def wlmctl_batch_systems() -> Mapping[str, BatchFactory]:
    """The batch systems that this plugin offers."""
    return {"lsf": open_lsf}
