"""The ``sftp`` transport: files over one pipelined SFTP session, commands beside it where the login has a shell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import wlmctl

if TYPE_CHECKING:
    from wlmctl.machine import Machine
    from wlmctl.transport import Transport, TransportFactory


def open_sftp(machine: Machine, options: Mapping[str, Any]) -> Transport:
    """Connect to ``machine`` and open its SFTP session. Option ``timeout_s``: the longest silence (30)."""
    from wlmctl_transport_sftp.opening import open_transport

    return open_transport(machine, options)


@wlmctl.hookimpl
def wlmctl_transports() -> Mapping[str, TransportFactory]:
    """The transport ``sftp``."""
    return {"sftp": open_sftp}
