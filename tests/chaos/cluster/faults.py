"""Which faults there are, and which job gets which: all one after the other, then at random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from tests.chaos.cluster.points import OF_MANY, points

#: Who is killed at a point of the leader's transactions, of a worker, of the texts.
PROCESSES = ("worker", "leader", "connection")

#: What the transactions of the leader mean to a task: at the last two points only a dispatch is under way.
LED = {1: ("intent", "deferral", "end"), 2: ("intent", "deferral", "end"), 3: ("intent",), 4: ("intent",)}

#: The tasks of the two experiments: single jobs, elements of arrays, members of packs; and those that are cancelled.
SINGLE, ROW, PACK, GONE = "single", "row", "pack", "gone"

#: Which tasks come to points of their own; to all others each does that is not cancelled.
_OWN: dict[tuple[str, ...], tuple[str, ...]] = {
    (GONE,): ("cancel.1", "cancel.2", "cancel.3", "cancel.4", "control.3", "control.4"),
    (SINGLE,): ("submit.5", "submit.6", "submit.7"),
    (ROW, PACK): ("submit.9", "submit.10", "submit.11", "submit.12", "submit.13"),
    (PACK,): ("pack.1", "pack.2"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """``victim`` is killed when a task comes to the point."""

    point: str
    victim: str

    @property
    def tasks(self) -> tuple[str, ...]:
        """Whose jobs come there."""
        return next((tasks for tasks, points in _OWN.items() if self.point in points), (SINGLE, ROW, PACK))

    def __str__(self) -> str:
        return f"{self.victim} at {self.point}"


def all_faults() -> Sequence[Fault]:
    """Each victim at each point."""
    return [Fault(name, victim) for name, victims in _places() for victim in victims]


def _places() -> Iterator[tuple[str, tuple[str, ...]]]:
    for point in points():
        match point.file:
            case "loop":
                yield from ((f"{point.name}.{kind}", PROCESSES) for kind in LED[point.number])
            case "wrapper" if point.number > 1:
                yield point.name, (*PROCESSES, "shell", "requeue")
            case "submit" if point.number in (6, 7, 8, 11, 12, 13):
                yield point.name, (*PROCESSES, "shell", "controller")
            case "wrapper" | "submit" | "cancel" | "pack":
                yield point.name, (*PROCESSES, "shell")
            case _ if point.name not in OF_MANY:
                yield point.name, PROCESSES


def draw(chance: Random, count: int, only: str = "") -> Sequence[Fault]:
    """So many faults: every one there is (whose text contains ``only``) in a random order, and again."""
    known = [fault for fault in all_faults() if only in str(fault)]
    drawn = list[Fault]()
    while known and len(drawn) < count:
        chance.shuffle(known)
        drawn += known
    return drawn[:count]
