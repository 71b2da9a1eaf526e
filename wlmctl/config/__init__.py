"""The configuration: ``wlmctl.toml`` files, ``WLMCTL_*`` variables and flags, as one immutable value."""

from __future__ import annotations

from wlmctl.config.load import load_config
from wlmctl.config.model import MEMORY, Config, Setting, Tls

__all__ = ["MEMORY", "Config", "Setting", "Tls", "load_config"]
