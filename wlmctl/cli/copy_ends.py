"""The ends of a ``wlmctl copy``: ``MACHINE:PATH`` and ``ID/ROLE:PATH``, found among machines and experiments."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from wlmctl.cli.common import note, open_store, with_all_machines
from wlmctl.errors import UsageError
from wlmctl.in_use import InUse

if TYPE_CHECKING:
    from wlmctl.connections import ConnectionPool
    from wlmctl.machine import Machine
    from wlmctl.transfer import Endpoint, Place, Spot
    from wlmctl.transport import Transport

_FORMS = "MACHINE:PATH, or ID/ROLE:PATH for an experiment's folder"


#: Seconds of waiting for a connection before that is told; a longer silence between two looks is no such waiting.
_TELL_S, _SILENCE_S = 2.0, 1.0


@dataclass(frozen=True, slots=True)
class End:
    """One end: which machine it is, how to reach it, and where there."""

    machine: Machine
    place: Place
    spot: Spot

    @property
    def name(self) -> str:
        """What it is, whichever way it was said."""
        slash = "/" if self.spot.is_folder else ""
        return f"{self.machine.name}:{self.spot.path}{slash}"


def endpoint(text: str) -> Endpoint:
    """The argument, taken apart; ``UsageError`` for one of another form."""
    from wlmctl.text import shown
    from wlmctl.transfer import split_endpoint

    if not text:
        raise UsageError(f"'': is empty, expected {_FORMS}")
    try:
        found = split_endpoint(text)
    except ValueError:
        raise UsageError(f"{shown(text)}: names no machine, expected {_FORMS} (local:{shown(text)}?)") from None
    if found.role.count("/") > 1 or found.role.endswith("/"):
        raise UsageError(f"{shown(text)}: expected {_FORMS}")
    return found


class Ends:
    """Finds ends over one pool; their connections are ``in_use`` while they are, and ``check`` may end the waiting."""

    def __init__(self, ctx: click.Context, pool: ConnectionPool, check: Callable[[], None], in_use: InUse) -> None:
        self._ctx, self._pool, self._check, self._in_use = ctx, pool, check, in_use
        self._told: set[str] = set()

    def find(self, named: Sequence[Endpoint]) -> list[End]:
        """The ends that are meant, in order. Machines are logged in to at the same time."""
        from wlmctl.runtime.abreast import abreast

        by_machine: dict[str, list[Endpoint]] = {}
        for each in named:
            is_of_experiment = "/" in each.role  # whose machine is not known yet: it may be that of another one
            by_machine.setdefault("" if is_of_experiment else each.role, []).append(each)
        together = abreast(lambda these: [(each, self._find(each)) for each in these], list(by_machine.values()))
        found = {each: end for pairs in together for each, end in pairs}
        return [found[each] for each in named]

    def _find(self, named: Endpoint) -> End:
        """The end that is meant; asks its machine for the login folder where the path needs that."""
        from wlmctl.transfer import Place, located

        machine, folder = self._machine(named)
        place = Place(named.role, machine.name, lambda: self._lease(machine), machine.is_local)
        home = ""
        if folder is None or named.path.startswith("~"):
            with place.lease() as transport:  # which logs in, and costs one more round trip only where it must
                home = "" if named.path.startswith("/") else transport.home()
        if folder is None and machine.is_local:
            folder = os.getcwd()
        try:
            spot = located(named, folder or home, home, may_leave=machine.is_local or "/" not in named.role)
        except ValueError as error:
            raise UsageError(f"{named.role}: {error}") from None
        return End(machine, place, spot)

    @contextmanager
    def _lease(self, machine: Machine) -> Iterator[Transport]:
        leased = self._pool.lease(machine, self._waiting_for(machine.name))
        with leased as transport, nullcontext() if machine.is_local else self._in_use.using(transport):
            yield transport

    def _waiting_for(self, machine: str) -> Callable[[], None]:
        """The check of who waits for a connection: once in the command it says so."""
        began_s = looked_s = time.monotonic()

        def check() -> None:
            nonlocal began_s, looked_s
            self._check()
            now_s = time.monotonic()
            began_s = now_s if now_s > looked_s + _SILENCE_S else began_s
            looked_s = now_s
            if now_s > began_s + _TELL_S and machine not in self._told:
                self._told.add(machine)
                note(f"waits until others leave {machine} to it (max_connections, commands_per_minute)")

        return check

    def _machine(self, named: Endpoint) -> tuple[Machine, str | None]:
        """The machine, and the folder of the experiment where one is named."""
        experiment, _, role = named.role.rpartition("/")
        config = with_all_machines(self._ctx)
        if not experiment:
            return config.machine(role), None
        from wlmctl.runtime.lookup import experiment_folder

        with open_store(self._ctx) as db:
            return experiment_folder(config, db, experiment, role, self._pool)
