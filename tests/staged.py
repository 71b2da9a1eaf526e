"""Staging between real machines: the ends of transfers, breaking ways to them, and what must be true afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.services.sshd import Farm
from tests.transfers import spot
from wlmctl.connections import ConnectionPool
from wlmctl.errors import Broken, Unreachable
from wlmctl.machine import Machine
from wlmctl.transfer import Place, Plan, Source, Summary, Symlinks, Verify, copy, plan

#: What is worth another try, and leaves what was written until then to it.
RETRIED = (Broken, Unreachable)

#: ``files`` is a machine without a shell.
KINDS = ["local", "sftp", "scp", "files"]
FAR = KINDS[1:]
ODD_NAMES = [
    "plain", "with space", "new\nline", "quo'te\"s", "$(touch pwned)", ";semi", "-dash", "*star", "[x]", "~tilde",
    "back\\slash", "tab\t", b"\xff\xfe".decode("utf-8", "surrogateescape"), "\u00fc\u4e2d", "x" * 240, ".dot",
]  # fmt: skip


@dataclass
class Ends:
    """The ends of transfers by the machine's name, and a folder for each. ``transports``: other than sftp."""

    farm: Farm
    pool: ConnectionPool
    folder: Path
    transports: Mapping[str, str] = field(default_factory=lambda: {"scp": "scp"})
    timeout_s: float = 10

    def machine(self, name: str, connections: int = 4) -> Machine:
        if name == "local":
            return Machine("local", transport="local")
        return Machine(
            name, host=name, transport=self.transports.get(name, "sftp"), max_connections=connections,
            transport_options={"timeout_s": self.timeout_s},
        )  # fmt: skip

    def place(self, name: str, connections: int = 4) -> Place:
        machine = self.machine(name, connections)
        return Place(name, machine.name, partial(self.pool.lease, machine), machine.is_local)

    def planned(self, source: str, what: object, to: str, where: object, symlinks: Symlinks = Symlinks.KEEP) -> Plan:
        sources = [Source(self.place(source), spot(str(what)))]
        return plan(sources, self.place(to), spot(str(where)), symlinks=symlinks)

    def copied(
        self, source: str, what: object, to: str, where: object, verify: Verify = Verify.SHA256, execution: str = "e1"
    ) -> Summary:
        return copy(self.planned(source, what, to, where), verify=verify, execution=execution)
