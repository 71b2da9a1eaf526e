"""The batch system ``pbs``: jobs of OpenPBS, PBS Pro or Torque, each submitted and started at most once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import wlmctl

if TYPE_CHECKING:
    from wlmctl.batch import BatchFactory, BatchSystem
    from wlmctl.machine import Machine


def open_pbs(machine: Machine, options: Mapping[str, Any]) -> BatchSystem:
    """The jobs of ``machine``; ``options`` are the defaults of ``PbsOptions``."""
    from wlmctl_batch_pbs.options import PbsOptions
    from wlmctl_batch_pbs.system import PbsBatch

    return PbsBatch(machine, PbsOptions.of(machine, options))


@wlmctl.hookimpl
def wlmctl_batch_systems() -> Mapping[str, BatchFactory]:
    """The batch systems that this plugin offers."""
    return {"pbs": open_pbs}
