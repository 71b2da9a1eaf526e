"""Open connections to machines, kept for the next use and never more at a time than a machine allows."""

from __future__ import annotations

import bisect
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from wlmctl.errors import Broken, Unreachable
from wlmctl.login_nodes import LoginNodes
from wlmctl.machine import Machine
from wlmctl.pace import Pace
from wlmctl.traffic import admitted
from wlmctl.transport import Transport

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 0.2

#: Who waits for a permit lets others have what was not used for so long: they may wait for that, with what it wants.
_IDLE_WHILE_WAITING_S = 0.5


class Budget(Protocol):
    """Counts connections to a login, commands on it, and what ``wlmctl.traffic`` counts, over all processes that share
    a store."""

    def acquire(self, name: str, limit: int, check: Callable[[], None], priority: int = 0) -> Any:
        """Wait for a permit of this name (calling ``check`` meanwhile, which may raise) and return its token."""
        ...

    def sharing(self, name: str) -> int:
        """How many permits of this name there are now, or were a moment ago."""
        ...

    def release(self, token: Any) -> None:
        """Give the permit back."""
        ...

    def command(self, login: str, per_minute: int, check: Callable[[], None]) -> None:
        """Count one command; waits (calling ``check``, which may raise) while the last minute had ``per_minute``."""
        ...


@dataclass(slots=True)
class _Open:
    """One connection, in use or idle since a moment of the monotonic clock."""

    transport: Transport
    machine: Machine
    permit: Any = None
    idle_since_s: float = 0.0


@dataclass(slots=True)
class _Login:
    """All connections of one login; ``opened`` counts those that are idle, in use or being made.

    ``line`` is who waits for one, by priority and then in order.
    """

    idle: list[_Open] = field(default_factory=list)
    opened: int = 0
    line: list[tuple[int, int]] = field(default_factory=list)


def _nothing() -> None:
    """The check of a caller that cannot be cancelled."""


def _login_of(machine: Machine) -> str:
    from wlmctl.ssh.login import resolved_login

    return resolved_login(machine)


def open_transport(machine: Machine) -> Transport:
    """A new connection to ``machine`` by the transport that its settings name."""
    from wlmctl.plugins import transport_factory

    return transport_factory(machine.transport)(machine, machine.transport_options)


class ConnectionPool:
    """Lends open transports, one user at a time.

    ``open_transport`` makes one; ``login_of`` names what a limit is counted by; an idle connection is closed after
    ``idle_s`` by the next call of ``close_idle``. A connection keeps its permit of ``budget`` while it is open.
    """

    def __init__(
        self,
        open_transport: Callable[[Machine], Transport],
        idle_s: float = 20.0,
        budget: Budget | None = None,
        login_of: Callable[[Machine], str] = _login_of,
    ) -> None:
        self._open_transport, self._idle_s = open_transport, idle_s
        self.budget, self._login_of = budget, login_of
        self._changed = threading.Condition()
        self._logins: dict[str, _Login] = {}
        self._order = itertools.count()
        self._names: dict[tuple[object, ...], str] = {}
        self._closed = False
        self._broken_off: list[Transport] = []
        self._nodes = LoginNodes()

    @contextmanager
    def lease(self, machine: Machine, check: Callable[[], None] = _nothing, priority: int = 0) -> Iterator[Transport]:
        """A connection to ``machine`` for this thread; waits while the machine has as many as it allows.

        Of several login nodes one that answers is used, as long as it does. Of those who wait the highest priority is
        first. ``check`` is called every 0.2 s of waiting, and may raise. A connection whose use raises ``Broken`` or
        ``Unreachable`` is closed; any other goes back. This host's transport is not pooled. Each lease counts as one
        command of the machine's ``commands_per_minute``, and each login as one more, by which it finds the shell.
        """
        if machine.is_local:
            with self._open_transport(machine) as transport:
                yield transport
            return
        self._count_command(machine, check)
        lent = self._nodes.through(machine, lambda node: self._take(machine, node, check, priority))
        login = self._name_of(lent.machine)
        try:
            yield lent.transport
        except (Broken, Unreachable):
            self._drop(login, lent)
            raise
        except BaseException:
            self._give_back(login, lent)
            raise
        self._give_back(login, lent)

    @contextmanager
    def permit(self, machine: Machine, check: Callable[[], None] = _nothing) -> Iterator[None]:
        """The budget's permit for one connection that the caller makes itself and ends within the ``with``."""
        if self.budget is None or machine.is_local:
            yield
            return
        token = self.budget.acquire(self._name_of(machine), machine.max_connections, check)
        try:
            yield
        finally:
            self.budget.release(token)

    @contextmanager
    def transfer(
        self,
        ends: Sequence[Machine],
        size_bytes: int,
        files: int,
        check: Callable[[], None] = _nothing,
        priority: int = 0,
    ) -> Iterator[Pace]:
        """What ``wlmctl.traffic.admitted`` says, for a transfer between ``ends``; to be called without a lease."""
        far = [(self._name_of(machine), machine) for machine in ends if not machine.is_local]
        with admitted(self.budget, far, size_bytes, files, check, priority) as pace:
            yield pace

    def close_idle(self, for_s: float | None = None) -> None:
        """Close what nobody has used for so long (``idle_s``), and give back its permits."""
        limit = time.monotonic() - (self._idle_s if for_s is None else for_s)
        self._close_where(lambda idle, _: idle.idle_since_s <= limit)

    def close_idle_of(self, login: str) -> None:
        """Close what nobody uses now of this login, since others wait for its permits."""
        self._close_where(lambda _, name: name == login)

    def break_off(self, transport: Transport) -> None:
        """Close a connection that is in use: whoever waits for it gets an error, and it is lent no more."""
        with self._changed:
            self._broken_off.append(transport)
        try:
            transport.close()
        except Exception:  # a plugin's close; it is gone for us, however it went
            log.info("a connection did not close well", exc_info=True)

    def close_all(self) -> None:
        """Close what is idle now, and what is in use as soon as it comes back."""
        with self._changed:
            self._closed = True
        self._close_where(lambda *_: True)

    def _name_of(self, machine: Machine) -> str:
        # To read ~/.ssh/config again for each lease would cost more than the lease.
        key = (machine.name, machine.host, machine.user, machine.port, machine.jump)
        if key not in self._names:
            self._names[key] = self._login_of(machine)
        return self._names[key]

    def _count_command(self, machine: Machine, check: Callable[[], None]) -> None:
        if self.budget is not None and machine.commands_per_minute is not None:
            self.budget.command(self._name_of(machine), machine.commands_per_minute, check)

    def _take(self, machine: Machine, node: Machine, check: Callable[[], None], priority: int) -> _Open:
        login, place = self._name_of(node), (-priority, next(self._order))
        with self._changed:
            entry = self._logins.setdefault(login, _Login())
            bisect.insort(entry.line, place)
        try:
            found = self._wait(node, login, check, entry, place)
        finally:
            with self._changed:
                entry.line.remove(place)
                self._changed.notify_all()
        return found or self._make(machine, node, login, check, priority)

    def _wait(
        self, machine: Machine, login: str, check: Callable[[], None], entry: _Login, place: tuple[int, int]
    ) -> _Open | None:
        """An idle connection, or None where there is room for a new one, which is counted then."""
        while True:
            check()
            useless: _Open | None = None
            with self._changed:
                if entry.line[0] == place and entry.idle:
                    found = entry.idle.pop()
                    # Two machines may be one login with different transports; and a server may have been restarted.
                    if found.machine == machine and _is_alive(found.transport):
                        return found
                    useless = found
                elif entry.line[0] == place and entry.opened < machine.max_connections:
                    entry.opened += 1
                    return None
                else:
                    self._changed.wait(_LOOK_AGAIN_S)
            if useless is not None:
                self._drop(login, useless)

    def _make(self, machine: Machine, node: Machine, login: str, check: Callable[[], None], priority: int) -> _Open:
        permit = None

        def waiting() -> None:
            self.close_idle(_IDLE_WHILE_WAITING_S)
            check()

        try:
            if self.budget is not None:
                permit = self.budget.acquire(login, node.max_connections, waiting, priority)
            self._count_command(machine, waiting)
            return _Open(self._open_transport(node), node, permit)
        except BaseException:
            self._count_down(login, permit)
            raise

    def _give_back(self, login: str, lent: _Open) -> None:
        with self._changed:
            if not self._closed and lent.transport not in self._broken_off and _is_alive(lent.transport):
                lent.idle_since_s = time.monotonic()
                self._logins[login].idle.append(lent)
                self._changed.notify_all()  # only the first in the line can use it
                return
        self._drop(login, lent)

    def _drop(self, login: str, useless: _Open) -> None:
        with self._changed:
            self._broken_off = [each for each in self._broken_off if each is not useless.transport]
        try:
            useless.transport.close()
        except Exception:  # a plugin's close; the connection is gone for us, however it went
            log.warning("machine %s: its connection did not close well", useless.machine.name, exc_info=True)
        finally:
            self._count_down(login, useless.permit)

    def _count_down(self, login: str, permit: Any) -> None:
        with self._changed:
            self._logins[login].opened -= 1
            self._changed.notify_all()
        if self.budget is not None and permit is not None:
            self.budget.release(permit)

    def _close_where(self, is_wanted: Callable[[_Open, str], bool]) -> None:
        with self._changed:
            doomed = [(login, idle) for login, entry in self._logins.items() for idle in entry.idle
                      if is_wanted(idle, login)]  # fmt: skip
            for login, idle in doomed:
                self._logins[login].idle.remove(idle)
        for login, idle in doomed:
            self._drop(login, idle)


def _is_alive(transport: Transport) -> bool:
    """Whether an idle connection is still up, where the transport can say so without asking the host."""
    alive = getattr(transport, "alive", None)
    return True if alive is None else bool(alive())
