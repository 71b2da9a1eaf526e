"""What the configuration says, once read: immutable, without a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wlmctl.errors import NoSuch
from wlmctl.machine import Machine, Reference
from wlmctl.suggest import did_you_mean


@dataclass(frozen=True, slots=True)
class Setting:
    """One value as it is shown, and where it came from: ``default``, a flag, a variable or ``file:line``."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one command. URLs carry no password; ``machines`` always has ``local``.

    ``store_secret`` is the password that stood in the store's URL; it is never shown.
    """

    store: str
    broker: str = "memory://"
    prefix: str = "wlm"
    scheduler: str = "fifo"
    scheduler_options: Mapping[str, Any] = field(default_factory=dict)
    store_password: Reference | None = None
    broker_password: Reference | None = None
    store_secret: str | None = field(default=None, repr=False)
    machines: Mapping[str, Machine] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    state_folder: Path = Path()
    origins: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def store_login(self) -> str | Reference | None:
        """The store's password, or where it is: that of the URL counts before ``store_password``."""
        return self.store_secret if self.store_secret is not None else self.store_password

    def machine(self, name: str) -> Machine:
        """The machine of that name; ``NoSuch`` names the ones there are."""
        try:
            return self.machines[name]
        except KeyError:
            hint = did_you_mean(name, self.machines) or f"the configuration has {', '.join(sorted(self.machines))}"
            raise NoSuch(f"no machine {name!r} ({hint})") from None
