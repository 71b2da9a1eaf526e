"""The options that every transport over SSH takes (``[machines.NAME.transport_options]``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wlmctl.errors import ConfigError
from wlmctl.machine import Machine
from wlmctl.ssh.connection import DEFAULT_TIMEOUT_S


def timeout_of(machine: Machine, options: Mapping[str, Any], others: Sequence[str] = ()) -> float:
    """``timeout_s``, the longest silence of a connection; ``ConfigError`` for what is neither it nor of ``others``."""
    where = f"machine {machine.name}: transport_options"
    for key in options:
        if key not in ("timeout_s", *others):
            expected = " or ".join(("timeout_s", *others))
            raise ConfigError(f"{where}: {key}: no such option of {machine.transport}, expected {expected}")
    value = options.get("timeout_s", DEFAULT_TIMEOUT_S)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigError(f"{where}: timeout_s: {value!r}, expected a number of seconds above 0")
    return float(value)
