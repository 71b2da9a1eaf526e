"""paramiko without ``invoke``, which takes a third of its start and which it needs for ``Match exec`` alone."""

from __future__ import annotations

import sys
from types import ModuleType


def lean_paramiko() -> ModuleType:
    """paramiko; where this is its first import, ``Match exec`` does not work before ``allow_match_exec``."""
    loaded: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    if "paramiko" not in loaded and "invoke" not in loaded:
        loaded["invoke"] = None  # makes its import fail, which paramiko bears
        try:
            import paramiko
        finally:
            loaded.pop("invoke", None)  # another thread may have been here, too
    import paramiko

    return paramiko


def allow_match_exec() -> None:
    """Give paramiko what it needs for ``Match exec``; ``ImportError`` where that is not installed."""
    import invoke
    import paramiko.config

    paramiko.config.invoke = invoke  # type: ignore[attr-defined]
