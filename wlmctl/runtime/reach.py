"""Connections for commands that look at machines themselves: pooled, and counted against the machines' budgets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from wlmctl.config import Config
from wlmctl.connections import ConnectionPool
from wlmctl.machine import LOCAL, Machine
from wlmctl.plugins import transport_factory
from wlmctl.store.database import is_absent
from wlmctl.store.permits import Permits
from wlmctl.transport import Transport


def open_transport(machine: Machine) -> Transport:
    """A new connection to ``machine`` by the transport that its settings name; this host's is always ``local``."""
    name = LOCAL if machine.is_local else machine.transport
    return transport_factory(name)(machine, machine.transport_options)


@contextmanager
def connections(config: Config) -> Iterator[ConnectionPool]:
    """A pool for one command. Budgets are the store's where there is one already; none is made for this."""
    budget = None if is_absent(config.store) else Permits(config.store)
    pool = ConnectionPool(open_transport, budget=budget)
    try:
        yield pool
    finally:
        pool.close_all()
