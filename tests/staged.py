"""Staging between real machines: the ends of transfers, breaking ways to them, and what must be true afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.services.relay import Relay
from tests.services.sshd import Farm
from tests.transfers import spot, tree
from wlmctl.connections import ConnectionPool
from wlmctl.errors import Broken, Unreachable, WlmctlError
from wlmctl.machine import Machine
from wlmctl.transfer import Place, Plan, Source, Summary, Symlinks, Verify, copy, execution_name, plan

#: What is worth another try, and leaves what was written until then to it.
RETRIED = (Broken, Unreachable)

#: ``files`` is a machine without a shell.
KINDS = ["local", "sftp", "scp", "files"]
FAR = KINDS[1:]
WITH_OPENSSH = [*FAR, "openssh"]
ODD_NAMES = [
    "plain", "with space", "new\nline", "quo'te\"s", "$(touch pwned)", ";semi", "-dash", "*star", "[x]", "~tilde",
    "back\\slash", "tab\t", b"\xff\xfe".decode("utf-8", "surrogateescape"), "\u00fc\u4e2d", "x" * 240, ".dot",
]  # fmt: skip


@dataclass
class Ends:
    """The ends of transfers by the machine's name, and a folder for each.

    ``transports``: by machine, where it is not sftp. ``timeouts_s``: by machine, where it is not ``timeout_s``.
    ``settings``: of every far machine.
    """

    farm: Farm
    pool: ConnectionPool
    folder: Path
    transports: Mapping[str, str] = field(default_factory=lambda: {"scp": "scp", "openssh": "openssh"})
    timeout_s: float = 10
    timeouts_s: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    relays: dict[str, Relay] = field(default_factory=dict)

    def machine(self, name: str, connections: int = 4) -> Machine:
        if name == "local":
            return Machine("local", transport="local")
        return Machine(
            name, host=name, transport=self.transports.get(name, "sftp"), max_connections=connections,
            transport_options={"timeout_s": self.timeouts_s.get(name, self.timeout_s)}, **self.settings,
        )  # fmt: skip

    def place(self, name: str, connections: int = 4) -> Place:
        machine = self.machine(name, connections)
        return Place(name, machine.name, partial(self.pool.lease, machine), machine.is_local)

    def planned(
        self,
        source: str,
        what: object,
        to: str,
        where: object,
        symlinks: Symlinks = Symlinks.KEEP,
        execution: str = "",
        exclude: Sequence[str] = (),
    ) -> Plan:
        sources = [Source(self.place(source), spot(str(what)))]
        return plan(sources, self.place(to), spot(str(where)), symlinks=symlinks, execution=execution, exclude=exclude)

    def copied(
        self, source: str, what: object, to: str, where: object, verify: Verify = Verify.SHA256, execution: str = "e1"
    ) -> Summary:
        return copy(self.planned(source, what, to, where), verify=verify, execution=execution)

    def tried(
        self, source: str, what: object, to: str, where: object, *, verify: Verify = Verify.SHA256, dispatch: int = 0
    ) -> Summary | WlmctlError:
        """Plan and copy, and give what came of it; with ``dispatch`` as the n-th execution of one task."""
        try:
            made = self.planned(source, what, to, where, execution=_execution(dispatch))
        except WlmctlError as error:
            return error
        return self.carried_out(made, verify=verify, dispatch=dispatch)

    def carried_out(self, made: Plan, *, verify: Verify = Verify.SHA256, dispatch: int = 0) -> Summary | WlmctlError:
        """Copy, and give what came of it; with ``dispatch`` as the n-th execution of one task."""
        try:
            return copy(made, verify=verify, execution=_execution(dispatch), keeps=RETRIED if dispatch else ())
        except WlmctlError as error:
            return error

    def through(self, name: str, **conditions: Any) -> Relay:
        """From now on the machine is reached over a relay."""
        machine = self.farm[name]
        relay = Relay(machine.address, machine.port, **conditions)
        self.relays[name] = relay
        ways = {name: (relay.address, relay.port) for name, relay in self.relays.items()}
        self.farm.write_inventory(self.folder / "inventory", ways=ways)
        return relay

    def close(self) -> None:
        self.pool.close_all()
        for relay in self.relays.values():
            relay.close()


#: Makes the ends of a machine ``odd`` whose SFTP server has the manners that are given.
Odd = Callable[..., Ends]


def _execution(dispatch: int) -> str:
    return execution_name("task", dispatch) if dispatch else "e1"


def content(path: Path) -> object:
    """All that is at ``path``, to be compared; None where nothing is."""
    if path.is_dir():
        return tree(path)
    return path.read_bytes() if path.exists() else None


def is_told_in_a_line(error: object) -> bool:
    """True for an error that names something, in one line that a terminal can show."""
    text = str(error)
    return isinstance(error, WlmctlError) and bool(text) and text.isprintable()
