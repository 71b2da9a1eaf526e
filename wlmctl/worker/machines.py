"""The machines a worker can use, over pooled connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace

from wlmctl.connections import ConnectionPool
from wlmctl.errors import Unreachable
from wlmctl.machine import Machine
from wlmctl.transport import Transport
from wlmctl.worker.places import resolve_scratch

#: Connections for what jobs wait for, and for what is broken off, come before those for tasks of any priority.
FIRST = 10

#: What of a machine a worker's own inventory may say otherwise.
LOGIN = ("user", "port", "jump", "key", "passphrase")


class MachineAway(Exception):
    """A machine could not be reached: which, and why."""

    def __init__(self, machine: str, reason: str) -> None:
        super().__init__(reason)
        self.machine, self.reason = machine, reason


class Machines:
    """The machines a worker can use: connections to them, and their scratch folders, found out once.

    ``own`` is the worker's own inventory: of a machine it may change how to log in, of ``local`` the scratch folder.
    """

    def __init__(self, pool: ConnectionPool, own: Mapping[str, Machine] | None = None) -> None:
        self.pool = pool
        self._own = own or {}
        self._scratch: dict[str, str] = {}

    def seen_from_here(self, machine: Machine) -> Machine:
        """The leader's machine, with this worker's own way to log in to it."""
        own = self._own.get(machine.name)
        if own is None:
            return machine
        if machine.is_local:
            return replace(machine, scratch=own.scratch)
        own_login = {name: value for name in LOGIN if (value := getattr(own, name)) is not None}
        return replace(machine, **own_login)

    @contextmanager
    def transport(self, machine: Machine, check: Callable[[], None], priority: int = FIRST) -> Iterator[Transport]:
        """A pooled connection; ``MachineAway`` when the machine does not answer or refuses the login."""
        lease = self.pool.lease(machine, check, priority)
        try:
            transport = lease.__enter__()
        except Unreachable as error:
            raise MachineAway(machine.name, str(error)) from error
        try:
            yield transport
        except BaseException as error:
            if not lease.__exit__(type(error), error, error.__traceback__):
                raise
        else:
            lease.__exit__(None, None, None)

    def scratch(self, machine: Machine, check: Callable[[], None], transport: Transport | None = None) -> str:
        """The machine's scratch folder, absolute; asked over ``transport`` where the caller has one open."""
        key = f"{machine.name}\0{machine.scratch}\0{machine.host}\0{machine.user}"
        known = self._scratch.get(key)
        if known is None:
            opened = self.transport(machine, check) if transport is None else nullcontext(transport)
            with opened as transport:
                known = self._scratch[key] = resolve_scratch(machine, transport)
        return known
