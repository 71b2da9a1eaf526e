"""The batch system ``slurm``: jobs of a Slurm cluster, each submitted and started at most once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import wlmctl

if TYPE_CHECKING:
    from wlmctl.batch import BatchFactory, BatchSystem
    from wlmctl.machine import Machine


def open_slurm(machine: Machine, options: Mapping[str, Any]) -> BatchSystem:
    """The jobs of ``machine``; ``options`` are the defaults of ``SlurmOptions``."""
    from wlmctl_batch_slurm.options import SlurmOptions
    from wlmctl_batch_slurm.system import SlurmBatch

    return SlurmBatch(machine, SlurmOptions.of(machine, options))


@wlmctl.hookimpl
def wlmctl_batch_systems() -> Mapping[str, BatchFactory]:
    """The batch systems that this plugin offers."""
    return {"slurm": open_slurm}
