"""The batch system ``shell``: a job is a detached process of the machine, with a start fence and an exit file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import wlmctl

if TYPE_CHECKING:
    from wlmctl.batch import BatchFactory, BatchSystem
    from wlmctl.machine import Machine


def open_shell(machine: Machine, options: Mapping[str, Any]) -> BatchSystem:
    """The jobs of ``machine``; there are no options."""
    from wlmctl.errors import ConfigError
    from wlmctl_batch_shell.system import ShellBatch

    if options:
        raise ConfigError(
            f"machines.{machine.name}.batch_options: {min(options)}: the batch system shell has no options"
        )
    return ShellBatch(machine)


@wlmctl.hookimpl
def wlmctl_batch_systems() -> Mapping[str, BatchFactory]:
    """The batch systems that this plugin offers."""
    return {"shell": open_shell}
