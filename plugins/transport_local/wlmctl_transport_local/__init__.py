"""The transport ``local``: this very host, without a login."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import wlmctl

if TYPE_CHECKING:
    from wlmctl.machine import Machine
    from wlmctl.transport import Transport, TransportFactory


def open_local(machine: Machine, options: Mapping[str, Any]) -> Transport:
    """A transport to this host; one without ``run`` where the machine's ``shell`` is ``none``."""
    from wlmctl.errors import ConfigError
    from wlmctl_transport_local.files import LocalFiles
    from wlmctl_transport_local.transport import LocalTransport

    if options:
        raise ConfigError(
            f"machines.{machine.name}.transport_options: {min(options)}: the local transport has no options"
        )
    return LocalFiles() if machine.shell == "none" else LocalTransport()


@wlmctl.hookimpl
def wlmctl_transports() -> Mapping[str, TransportFactory]:
    """The transports that this plugin offers."""
    return {"local": open_local}
