"""The ``fsspec`` transport: S3, HTTP(S), and every other store that the library fsspec knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import wlmctl

if TYPE_CHECKING:
    from wlmctl.machine import Machine
    from wlmctl.transport import Transport, TransportFactory


def open_fsspec(machine: Machine, options: Mapping[str, Any]) -> Transport:
    """Open the store that the option ``url`` names; ``storage_options`` are its backend's, secrets by reference."""
    from wlmctl_transport_fsspec.opening import open_transport

    return open_transport(machine, options)


@wlmctl.hookimpl
def wlmctl_transports() -> Mapping[str, TransportFactory]:
    """The transport ``fsspec``."""
    return {"fsspec": open_fsspec}
