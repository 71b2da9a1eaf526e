"""The batch system ``sge``: jobs of a Grid Engine cluster, each submitted and started at most once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import wlmctl

if TYPE_CHECKING:
    from wlmctl.batch import BatchFactory, BatchSystem
    from wlmctl.machine import Machine


def open_sge(machine: Machine, options: Mapping[str, Any]) -> BatchSystem:
    """The jobs of ``machine``; ``options`` are the defaults of ``SgeOptions``."""
    from wlmctl_batch_sge.options import SgeOptions
    from wlmctl_batch_sge.system import SgeBatch

    return SgeBatch(machine, SgeOptions.of(machine, options))


@wlmctl.hookimpl
def wlmctl_batch_systems() -> Mapping[str, BatchFactory]:
    """The batch systems that this plugin offers."""
    return {"sge": open_sge}
