"""Ports for servers of tests."""

from __future__ import annotations

import os
import random
import socket
from collections import deque

#: Below the ports that the kernel gives to connections, any of which may begin before a server has bound its own.
_FIRST, _LAST = 12_000, 31_999

#: Test processes that run beside one another choose from shares of their own, since what is chosen is bound later.
_SHARES = 8

#: What this process was given lately, and may not have bound yet.
_given = deque[int](maxlen=500)


def free_port(address: str) -> int:
    """A port that nothing listens on now, that no connection will be given, and that nothing else here will bind."""
    share = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SHARES
    for port in random.SystemRandom().sample(range(_FIRST + share, _LAST + 1, _SHARES), 1000):
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
            _given.append(port)
            return port
    raise OSError(f"{address}: a thousand ports between {_FIRST} and {_LAST} are all taken")
