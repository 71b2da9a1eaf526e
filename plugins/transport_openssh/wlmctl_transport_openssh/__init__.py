"""The ``openssh`` transport: files and commands through the system's own ``ssh``, which logs in as its user can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import wlmctl

if TYPE_CHECKING:
    from wlmctl.machine import Machine
    from wlmctl.transport import Transport, TransportFactory


def open_openssh(machine: Machine, options: Mapping[str, Any]) -> Transport:
    """Log in by ``ssh``. Options: ``timeout_s`` (30), and ``control_path`` of a login that was made by hand."""
    from wlmctl_transport_openssh.opening import open_transport

    return open_transport(machine, options)


@wlmctl.hookimpl
def wlmctl_transports() -> Mapping[str, TransportFactory]:
    """The transport ``openssh``."""
    return {"openssh": open_openssh}
