"""wlmctl: distributed workload management, driven from one experiment file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

#: The version of the plugin contracts; a plugin module may say ``WLMCTL_API = 1``.
API_VERSION = 1

if TYPE_CHECKING:
    import pluggy

    hookimpl = pluggy.HookimplMarker("wlmctl")


def __getattr__(name: str) -> Any:
    """Make ``wlmctl.hookimpl`` on first use, so that ``import wlmctl`` stays light."""
    if name == "hookimpl":
        import pluggy

        return pluggy.HookimplMarker("wlmctl")
    raise AttributeError(name)
