"""What tasks under way take of a machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from wlmctl.task import Resources


class Taken:
    """What is taken of one machine: cpus, memory, gpus one by one, jobs."""

    __slots__ = ("_jobs", "_packed", "_shared", "cpus", "devices", "memory_bytes")

    def __init__(self) -> None:
        self.cpus = self.memory_bytes = self._jobs = 0
        self.devices: set[int] = set()
        #: The jobs that several tasks share; and those tasks that will share one, by how many may.
        self._shared: set[str] = set()
        self._packed: Counter[int] = Counter()

    def add(self, resources: Resources, devices: Iterable[int], shares: str | None = None, pack: int = 1) -> None:
        """One more task is under way there, which ``shares`` a job with others or will be put into one of ``pack``."""
        if not resources.cpus:
            return
        self.cpus += resources.cpus
        self.memory_bytes += resources.memory_bytes
        self.devices.update(devices)
        if shares is not None:
            self._shared.add(shares)
        elif pack > 1:
            self._packed[pack] += 1
        else:
            self._jobs += 1

    @property
    def jobs(self) -> int:
        """How many jobs these tasks are in the machine's queue."""
        return self._jobs + len(self._shared) + sum(-(-count // pack) for pack, count in self._packed.items())
