"""What is simulated: jobs with the times at which they came, and the nodes they may run on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

DAY_S = 86400.0

#: More nodes than this, or more cpus or gpus of one, are a slip of the pen that would take all of the memory.
MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Node:
    """One node. ``machine`` is its name in the file of machines, which many nodes may share. None: unlimited."""

    name: str
    machine: str
    cpus: int
    memory_bytes: int | None = None
    gpus: int = 0
    labels: frozenset[str] = frozenset()

    def has(self, wants: Sequence[str]) -> bool:
        """Whether it has every property; ``^x`` is one it must not have, of ``x|y`` it needs one."""
        return all(self._has(want) for want in wants)

    def _has(self, want: str) -> bool:
        if want.startswith("^"):
            return want[1:] not in self.labels
        return not self.labels.isdisjoint(want.split("|"))


@dataclass(frozen=True, slots=True)
class Job:
    """One job of the past. ``cpus``, ``memory_bytes`` and ``gpus`` are of each of its ``nodes``.

    ``walltime_s`` is what was asked for (None: nothing), ``run_s`` what it took. ``exclusive``: a node for itself.
    """

    arrive_s: float
    run_s: float
    cpus: int
    memory_bytes: int = 0
    gpus: int = 0
    nodes: int = 1
    walltime_s: float | None = None
    user: str = ""
    queue: str = ""
    wants: tuple[str, ...] = ()
    exclusive: bool = False
    #: What the trace says itself; None: by the median requested walltime of its queue.
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """Jobs in order of arrival, and the nodes. ``notes`` say what of the source was left out."""

    jobs: Sequence[Job]
    nodes: Sequence[Node]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """What equal jobs have in common: to a scheduler they are one group. ``permitted`` are positions of nodes."""

    number: int
    permitted: tuple[int, ...]
    cpus: int
    memory_bytes: int
    gpus: int
    nodes: int
    walltime_s: float | None
    user: str
    queue: str
    priority: int


@dataclass(frozen=True, slots=True)
class Problem:
    """A workload ready to be simulated: ``shapes[i]`` is the shape of ``jobs[i]``; jobs that fit nowhere are out."""

    jobs: Sequence[Job]
    shapes: Sequence[Shape]
    nodes: Sequence[Node]
    notes: Sequence[str] = ()

    @property
    def distinct(self) -> int:
        """How many shapes there are."""
        return max((shape.number for shape in self.shapes), default=-1) + 1


@dataclass(slots=True)
class _Shaping:
    """The nodes that each wish permits, and the shapes found so far."""

    nodes: Sequence[Node]
    levels: Mapping[str, int]
    permitted: dict[tuple[object, ...], tuple[int, ...]] = field(default_factory=dict)
    shapes: dict[tuple[object, ...], Shape] = field(default_factory=dict)

    def shape(self, job: Job) -> Shape | None:
        """The job's shape; None where it fits nowhere."""
        cpus, places = self._places(job)
        if len(places) < job.nodes:
            return None
        level = job.priority if job.priority is not None else self.levels[job.queue]
        key = (places, cpus, job.memory_bytes, job.gpus, job.nodes, job.walltime_s, job.user, job.queue, level)
        found = self.shapes.get(key)
        if found is None:
            found = self.shapes[key] = Shape(
                len(self.shapes), places, cpus, job.memory_bytes, job.gpus, job.nodes, job.walltime_s, job.user,
                job.queue, level,
            )  # fmt: skip
        return found

    def _places(self, job: Job) -> tuple[int, tuple[int, ...]]:
        """The cpus it takes of a node, and the nodes that have its properties and are large enough."""
        key = (job.wants, job.cpus, job.memory_bytes, job.gpus, job.exclusive)
        places = self.permitted.get(key)
        if places is None:
            places = self.permitted[key] = tuple(
                place
                for place, node in enumerate(self.nodes)
                if node.cpus >= job.cpus
                and (node.memory_bytes is None or node.memory_bytes >= job.memory_bytes)
                and node.gpus >= job.gpus
                and node.has(job.wants)
            )
        if not job.exclusive or not places:
            return job.cpus, places
        # a node for itself is all of its cpus: where sizes differ, the largest permitted ones
        cpus = max(self.nodes[place].cpus for place in places)
        return cpus, tuple(place for place in places if self.nodes[place].cpus == cpus)


def prepare(workload: Workload, levels: Mapping[str, int]) -> Problem:
    """The problem that the strategies are given; ``levels`` are the priorities of the queues."""
    shaping = _Shaping(workload.nodes, levels)
    found = [(job, shaping.shape(job)) for job in sorted(workload.jobs, key=lambda job: job.arrive_s)]
    kept = [(job, shape) for job, shape in found if shape is not None]
    left_out = len(found) - len(kept)
    notes = [*workload.notes]
    if left_out:
        notes.append(f"{left_out} of {len(found)} jobs fit on no node, or on too few, and are left out")
    return Problem([job for job, _ in kept], [shape for _, shape in kept], workload.nodes, notes)
