"""The inventory: the machines of the configuration, and whether one fits a requirement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LOCAL = "local"

#: The transports that log in to a host: a machine that uses one has a host.
OVER_SSH = frozenset({"sftp", "scp", "openssh"})


REFERENCE_KINDS = frozenset({"env", "file", "command"})


@dataclass(frozen=True, slots=True)
class Reference:
    """A secret's place, never the secret: ``{env = NAME}``, ``{file = PATH}`` or ``{command = TEXT}``."""

    kind: str
    value: str

    @classmethod
    def of(cls, value: Any) -> Reference | None:
        """The reference that a table of options holds, or None where it is none."""
        if not isinstance(value, Mapping) or len(value) != 1:
            return None
        ((kind, place),) = value.items()
        return cls(kind, place) if kind in REFERENCE_KINDS and isinstance(place, str) else None


@dataclass(frozen=True, slots=True)
class Machine:
    """A place work happens, as the inventory describes it; carries no secret. None: as the host reports."""

    name: str
    host: str | None = None
    user: str | None = None
    port: int | None = None
    jump: str | None = None
    key: str | None = None
    passphrase: Reference | None = None
    transport: str = "sftp"
    batch: str = "shell"
    scratch: str = "~/.wlmctl"
    shell: str | None = None
    preamble: str = ""
    labels: tuple[str, ...] = ()
    cpus: int | None = None
    memory_bytes: int | None = None
    gpus: int | None = None
    max_connections: int = 4
    #: What all transfers with it together may move in a second, either way.
    bandwidth_bytes_s: int | None = None
    commands_per_minute: int | None = None
    max_jobs: int | None = None
    kill_grace_s: float = 10.0
    batch_options: Mapping[str, Any] = field(default_factory=dict)
    transport_options: Mapping[str, Any] = field(default_factory=dict)
    #: Lines as known_hosts has them, of keys that the deployment trusts on the way there (``machine trust``).
    host_keys: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """True for this host without a login."""
        return self.host is None and LOCAL in (self.name, self.transport)

    @property
    def has_queue(self) -> bool:
        """True where jobs wait in a queue of the batch system: then cpus, memory and gpus are its largest node's."""
        return self.batch != "shell"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a role asks of a machine (CONTRACTS: ``machines: {role: {requires: ...}}``)."""

    labels: tuple[str, ...] = ()
    cpus: int | None = None
    memory_bytes: int | None = None
    gpus: int | None = None

    def misfit(self, machine: Machine) -> str | None:
        """Why ``machine`` does not fit, or None when it does."""
        for label in self.labels:
            if label not in machine.labels:
                return f"has no label {label}"
        if self.cpus is self.memory_bytes is self.gpus is None:
            return None
        for name in ("cpus", "memory_bytes", "gpus"):
            wanted, offered = getattr(self, name), getattr(machine, name)
            if wanted is not None and (offered or 0) < wanted:
                return f"has {offered or 0} {name.removesuffix('_bytes')}, {wanted} are required"
        return None
