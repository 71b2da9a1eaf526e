"""``run``: this process works on experiments of its own, to their end."""

from __future__ import annotations

from collections.abc import Mapping

from wlmctl.config import Config
from wlmctl.runtime.engine import Engine, Transfer
from wlmctl.store.leases import Lease

__all__ = ["Foreground", "Transfer"]


class Foreground(Engine):
    """Works on the experiments (by ``seq``) whose leases it is given, until all are final and cleaned."""

    def __init__(self, config: Config, leases: Mapping[int, Lease], *, slots: int | None = None) -> None:
        super().__init__(config, leases=leases, slots=slots)
