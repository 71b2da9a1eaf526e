"""What the configuration says, once read: immutable, without a secret."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from wlmctl.errors import NoSuch
from wlmctl.machine import Machine, Reference, groups_of
from wlmctl.suggest import did_you_mean


@dataclass(frozen=True, slots=True)
class Setting:
    """One value as it is shown, and where it came from: ``default``, a flag, a variable or ``file:line``."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Tls:
    """Files for ``amqps``: authorities to trust (default: the system's), and the client's certificate and key."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


#: The broker that lives in the process itself.
MEMORY = "memory://"


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one command. URLs carry no password; ``machines`` always has ``local``.

    ``store_secret`` and ``broker_secret`` are the passwords that stood in URLs; they are never shown.
    """

    store: str
    broker: str = MEMORY
    prefix: str = "wlm"
    scheduler: str = "fifo"
    scheduler_options: Mapping[str, Any] = field(default_factory=dict)
    record_decisions: str | None = None
    decision_limit_s: float = 5.0
    store_password: Reference | None = None
    broker_password: Reference | None = None
    store_secret: str | None = field(default=None, repr=False)
    broker_secret: str | None = field(default=None, repr=False)
    heartbeat_s: float = 1.0
    lease_s: float = 30.0
    ack_timeout_s: float = 1800.0
    permit_grace_s: float = 30.0
    message_limit_bytes: int = 16 * 2**20
    queue_type: Literal["auto", "classic", "quorum"] = "auto"
    tls: Tls = Tls()
    machines: Mapping[str, Machine] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    state_folder: Path = Path()
    origins: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def store_login(self) -> str | Reference | None:
        """The store's password, or where it is: that of the URL counts before ``store_password``."""
        return self.store_secret if self.store_secret is not None else self.store_password

    @property
    def broker_login(self) -> str | Reference | None:
        """The broker's password, or where it is: that of the URL counts before ``broker_password``."""
        return self.broker_secret if self.broker_secret is not None else self.broker_password

    @property
    def is_fleet(self) -> bool:
        """True where workers may be other processes: the broker is not the one inside the process."""
        return self.broker != MEMORY

    @property
    def secrets(self) -> list[Reference]:
        """The places of all secrets that these settings name."""
        logins = [machine.passphrase for machine in self.machines.values()]
        named = [found for found in (self.store_password, self.broker_password, *logins) if found is not None]
        return named + [found for machine in self.machines.values() for found in _references(machine.transport_options)]

    def machine(self, name: str) -> Machine:
        """The machine of that name; ``NoSuch`` names the ones there are."""
        try:
            return self.machines[name]
        except KeyError:
            groups = groups_of(self.machines.values())
            known = [*self.machines, *groups]
            hint = did_you_mean(name, known) or f"the configuration has {', '.join(sorted(known))}"
            if name in groups:
                hint = f"it is a group of {', '.join(groups[name])}: name one of them"
            raise NoSuch(f"no machine {name!r} ({hint})") from None

    def machines_of(self, names: Iterable[str]) -> list[Machine]:
        """The machines of these names, and those of the groups among them, each once."""
        groups = groups_of(self.machines.values())
        wanted = [each for name in names for each in groups.get(name, [name])]
        return [self.machine(name) for name in dict.fromkeys(wanted)]


def _references(options: Mapping[str, Any]) -> Iterator[Reference]:
    """The references in a table, at any depth."""
    for value in options.values():
        found = Reference.of(value)
        if found is not None:
            yield found
        elif isinstance(value, Mapping):
            yield from _references(value)
