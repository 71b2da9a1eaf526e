"""What happens to a fleet, and when: drawn from a seed before the round begins."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tests.chaos.fleet import Member
from tests.services.relay import Relay

#: Who can be hit, and how: (way, weight, shortest and longest time until it is mended, in seconds).
#: A broker that is stopped, or a way that is cut, for longer than two broker heartbeats (10 s) loses connections.
WAYS: dict[str, Sequence[tuple[str, int, float, float]]] = {
    "worker": [("kill", 5, 0, 0), ("stop", 3, 0.5, 15), ("cut", 2, 0.5, 15), ("break", 2, 0.1, 3), ("drain", 2, 0, 0)],
    "orchestrator": [("kill", 5, 0, 0), ("stop", 3, 0.5, 15), ("cut", 1, 0.5, 15), ("break", 1, 0.1, 3),
                     ("end", 1, 0, 0)],
    "broker": [("kill", 4, 0.1, 2), ("wipe", 3, 0.1, 2), ("stop", 2, 0.5, 15)],
    "store": [("kill", 3, 0.1, 3), ("stop", 2, 0.5, 6), ("cut", 2, 0.5, 6)],
    "sshd": [("kill", 3, 0.1, 5), ("stop", 2, 0.5, 8), ("break", 3, 0, 0)],
}  # fmt: skip

KINDS = tuple(WAYS)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens ``at_s`` after the beginning of a round, to the target of that kind and number."""

    at_s: float
    kind: str
    way: str
    target: int
    for_s: float

    def __str__(self) -> str:
        until = f" for {self.for_s:.1f} s" if self.for_s else ""
        return f"{self.at_s:5.1f} s: {self.way} {self.kind} {self.target}{until}"


def draw(chance: Random, kinds: Sequence[str], *, within_s: float, count: int) -> list[Fault]:
    """So many faults of these kinds in the order of their times."""
    faults = []
    for _ in range(count):
        kind = chance.choice(kinds)
        ways = WAYS[kind]
        way, _, least_s, most_s = chance.choices(ways, weights=[weight for _, weight, _, _ in ways])[0]
        for_s = chance.uniform(least_s, most_s) ** 2 / most_s if most_s else 0.0  # short ones more often
        faults.append(Fault(chance.uniform(0.2, within_s), kind, way, chance.randrange(12), max(for_s, least_s)))
    return sorted(faults, key=lambda fault: fault.at_s)


def happen_to_member(fault: Fault, member: Member) -> None:
    """A fault of a worker or an orchestrator, until it is mended."""
    match fault.way:
        case "kill":
            member.process.send(signal.SIGKILL)
        case "drain" | "end":
            member.process.send(signal.SIGTERM)
        case "stop":
            member.process.send(signal.SIGSTOP)
            time.sleep(fault.for_s)
            member.process.send(signal.SIGCONT)
        case "cut" | "break":
            cut(list(member.ways.values()), fault.for_s, loudly=fault.way == "break")


def cut(ways: Sequence[Relay], for_s: float, *, loudly: bool = False) -> None:
    """Nothing passes on these ways for so long."""
    for way in ways:
        way.cut(loudly=loudly)
    time.sleep(for_s)
    for way in ways:
        way.mend()
