"""The inventory: the machines of the configuration, and whether one fits a requirement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wlmctl.quantities import format_size
from wlmctl.text import in_bytes

LOCAL = "local"

#: The transports that log in to a host: a machine that uses one has a host.
OVER_SSH = frozenset({"sftp", "scp", "openssh"})


#: The machines of a group have its name as a label, behind this.
GROUP = "group="

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
    #: Further login nodes of the same cluster: whatever one of them does, the others can go on with.
    logins: tuple[str, ...] = ()
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
    def nodes(self) -> tuple[Machine, ...]:
        """The machine by each of its login nodes alone."""
        if not self.logins:
            return (self,)
        return tuple(replace(self, host=host, logins=()) for host in (self.host, *self.logins))

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
        missing = [label for label in self.labels if label not in machine.labels]
        if missing:
            group = missing[0].removeprefix(GROUP)
            return f"has no label {group}" if group == missing[0] else f"is not in the group {group}"
        if self.cpus is self.memory_bytes is self.gpus is None:
            return None
        for name in ("cpus", "memory_bytes", "gpus"):
            wanted, offered = getattr(self, name), getattr(machine, name)
            if wanted is not None and (offered or 0) < wanted:
                if name == "memory_bytes":
                    return _too_little_memory(offered or 0, wanted)
                return f"has {offered or 0} {name}, {wanted} are required"
        return None


def _too_little_memory(offered_bytes: int, wanted_bytes: int) -> str:
    offered, wanted = format_size(offered_bytes), format_size(wanted_bytes)
    if offered == wanted:  # as rounded
        offered, wanted = in_bytes(offered_bytes), in_bytes(wanted_bytes)
    return f"has {offered} of memory, {wanted} are required"


def groups_of(machines: Iterable[Machine]) -> dict[str, list[str]]:
    """The groups that machines are in, each with the names of its machines."""
    groups: dict[str, list[str]] = {}
    for machine in machines:
        for label in machine.labels:
            if label.startswith(GROUP):
                groups.setdefault(label.removeprefix(GROUP), []).append(machine.name)
    return groups
