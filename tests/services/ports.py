"""Ports for servers of tests."""

from __future__ import annotations

import random
import socket

#: Below the ports that the kernel gives to connections, any of which may begin before a server has bound its own.
_FIRST, _LAST = 12_000, 31_999


def free_port(address: str) -> int:
    """A port that nothing listens on now, and that no connection will be given."""
    for port in random.SystemRandom().sample(range(_FIRST, _LAST + 1), 100):
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port
    raise OSError(f"{address}: a hundred ports between {_FIRST} and {_LAST} are all taken")
