"""What each user has and had: cpus in use now, and cpu-seconds of the past, which count for less as they age."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from wlmctl.scheduler import Usage
from wlmctl.simulation.workload import DAY_S, Shape

#: After so long, what was used counts half.
HALF_LIFE_S = 7 * DAY_S

_RATE = math.log(2) / HALF_LIFE_S


@dataclass(slots=True)
class _Share:
    cpus: int = 0
    memory_bytes: int = 0
    gpus: int = 0
    decayed_cpu_s: float = 0.0
    at_s: float = 0.0

    def advance(self, now_s: float) -> None:
        left = math.exp(-_RATE * (now_s - self.at_s))
        self.decayed_cpu_s = self.decayed_cpu_s * left + self.cpus * (1 - left) / _RATE
        self.at_s = now_s


class Shares:
    """The users' shares as jobs start and end."""

    def __init__(self) -> None:
        self._users: dict[str, _Share] = {}

    def change(self, shape: Shape, now_s: float, sign: int) -> None:
        """A job of the shape has started (1) or ended (-1)."""
        share = self._users.get(shape.user)
        if share is None:
            share = self._users[shape.user] = _Share(at_s=now_s)
        share.advance(now_s)
        share.cpus += sign * shape.nodes * shape.cpus
        share.memory_bytes += sign * shape.nodes * shape.memory_bytes
        share.gpus += sign * shape.nodes * shape.gpus

    def usage(self, users: Iterable[str], now_s: float) -> dict[str, Usage]:
        """The shares of these users, as a scheduler sees them."""
        found = dict[str, Usage]()
        for user in users:
            share = self._users.get(user)
            if share is None:
                continue
            share.advance(now_s)
            found[user] = Usage(share.cpus, share.decayed_cpu_s, share.memory_bytes, share.gpus)
        return found
