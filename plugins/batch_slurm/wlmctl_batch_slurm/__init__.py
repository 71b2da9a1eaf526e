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
    from wlmctl.errors import ConfigError
    from wlmctl.jobs.queue.options import WrongOption
    from wlmctl_batch_slurm.options import SlurmOptions
    from wlmctl_batch_slurm.system import SlurmBatch

    try:
        return SlurmBatch(machine, SlurmOptions().over(options))
    except WrongOption as error:
        raise ConfigError(f"machines.{machine.name}.batch_options.{error}") from error


@wlmctl.hookimpl
def wlmctl_batch_systems() -> Mapping[str, BatchFactory]:
    """The batch systems that this plugin offers."""
    return {"slurm": open_slurm}
