"""What ``transport_options`` may say, checked, with the values of secrets in place of their references."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wlmctl.errors import ConfigError
from wlmctl.machine import Machine, Reference
from wlmctl.secret import reveal, take

_DEFAULT_TIMEOUT_S = 30.0
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Settings:
    """The store of a machine. ``storage`` may hold secrets: it is never shown."""

    machine: str
    url: str
    protocol: str
    timeout_s: float
    storage: dict[str, Any] = field(repr=False)


def settings_of(machine: Machine, options: Mapping[str, Any]) -> Settings:
    """The settings in ``options``; ``ConfigError`` for what is no such option, or is said wrongly."""
    where = f"machine {machine.name}: transport_options"
    for key in options:
        if key not in ("url", "storage_options", "timeout_s"):
            raise ConfigError(f"{where}: {key}: no such option of fsspec, expected url, storage_options or timeout_s")
    url = options.get("url")
    found = _URL.fullmatch(url) if isinstance(url, str) else None
    if found is None or "::" in found[0]:
        raise ConfigError(
            f'{where}: url: {url!r}, expected a URL such as "s3://bucket/folder" or "https://host/folder"'
        )
    timeout_s = options.get("timeout_s", _DEFAULT_TIMEOUT_S)
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not timeout_s > 0:
        raise ConfigError(f"{where}: timeout_s: {timeout_s!r}, expected a number of seconds above 0")
    storage = options.get("storage_options", {})
    if not isinstance(storage, Mapping):
        raise ConfigError(f"{where}: storage_options: expected a table")
    return Settings(machine.name, found[0], found[1].lower(), float(timeout_s), _revealed(storage, where))


def _revealed(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    return {key: _value(value, f"{where}.{key}") for key, value in table.items()}


def _value(value: Any, where: str) -> Any:
    found = Reference.of(value)
    if found is not None:
        take((found,))
        return reveal(found, where)
    return _revealed(value, where) if isinstance(value, Mapping) else value
