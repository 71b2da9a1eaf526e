"""The configuration: ``wlmctl.toml`` files, ``WLMCTL_*`` variables and flags, as one immutable value."""

from __future__ import annotations

from wlmctl.config.load import load_config
from wlmctl.config.model import Config, Setting

__all__ = ["Config", "Setting", "load_config"]
