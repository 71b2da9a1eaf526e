"""The ``scp`` transport: files by the SCP protocol and commands, for hosts where the SFTP subsystem is off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import wlmctl

if TYPE_CHECKING:
    from wlmctl.machine import Machine
    from wlmctl.transport import Transport, TransportFactory


def open_scp(machine: Machine, options: Mapping[str, Any]) -> Transport:
    """Connect to ``machine``, whose login needs a shell and ``scp``. Option ``timeout_s``: the longest silence (30)."""
    from wlmctl_transport_scp.opening import open_transport

    return open_transport(machine, options)


@wlmctl.hookimpl
def wlmctl_transports() -> Mapping[str, TransportFactory]:
    """The transport ``scp``."""
    return {"scp": open_scp}
