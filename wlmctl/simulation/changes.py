"""The same workload under other conditions: more load, fewer or larger nodes, shorter jobs."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from wlmctl.errors import UsageError
from wlmctl.quantities import parse_size
from wlmctl.simulation.workload import MOST, Job, Node
from wlmctl.suggest import did_you_mean
from wlmctl.text import in_quotes

#: The priority of jobs whose queue says nothing about walltimes, and the levels that the others get.
NORMAL, HIGHEST, LOWEST = 4, 8, 1

#: Machine, cpus, bytes of memory and gpus of equal nodes.
_Kind = tuple[str, int, int | None, int]

_WHAT_IF_KEYS = ("nodes", "cpus", "memory", "gpus")


def compressed(jobs: Sequence[Job], factor: float) -> list[Job]:
    """The jobs with the times between their arrivals divided by the factor."""
    if factor == 1 or not jobs:
        return list(jobs)
    first_s = min(job.arrive_s for job in jobs)
    return [replace(job, arrive_s=first_s + (job.arrive_s - first_s) / factor) for job in jobs]


def capped(jobs: Sequence[Job], most_s: float) -> list[Job]:
    """The jobs, none of which runs, or asks to run, for longer than ``most_s``."""
    return [
        replace(
            job,
            run_s=min(job.run_s, most_s),
            walltime_s=None if job.walltime_s is None else min(job.walltime_s, most_s),
        )
        for job in jobs
    ]


def scaled(nodes: Sequence[Node], factor: float) -> list[Node]:
    """So many times the nodes of each kind, at least one of each machine.

    What rounding takes from the large kinds of a machine goes to its smaller ones, and in the end to the machine that
    lacks most: the sum of gpus (of cpus where nodes have none) is kept, for each machine as far as may be.
    """
    if len(nodes) * factor > MOST:
        raise UsageError(f"--scale-machines: {len(nodes) * factor:,.0f} nodes, expected {MOST:,} at most")
    kinds = defaultdict[_Kind, list[Node]](list)
    for node in nodes:
        kinds[node.machine, node.cpus, node.memory_bytes, node.gpus].append(node)
    counts = dict.fromkeys(kinds, 0)
    for with_gpus in (True, False):
        own = [kind for kind in kinds if (kind[3] > 0) is with_gpus]
        lacking = {
            machine: _scale([kind for kind in own if kind[0] == machine], kinds, counts, factor)
            for machine in dict.fromkeys(kind[0] for kind in own)
        }
        total = sum(lacking.values())
        for machine in sorted(lacking, key=lambda name: -lacking[name]):
            smallest = min((kind for kind in own if kind[0] == machine), key=_unit)
            if total >= _unit(smallest) / 2:
                counts[smallest] += 1
                total -= _unit(smallest)
    return [node for kind, members in kinds.items() for node in _so_many(members, counts[kind])]


def _scale(
    own: Sequence[_Kind], kinds: Mapping[_Kind, Sequence[Node]], counts: dict[_Kind, int], factor: float
) -> float:
    """Count the kinds of one machine; what is lacking of its gpus (or cpus) after that."""
    lacking = 0.0
    for kind in sorted(own, key=lambda kind: (-_unit(kind), -len(kinds[kind]))):
        lacking += len(kinds[kind]) * factor * _unit(kind)
        counts[kind] = max(0, round(lacking / _unit(kind)))
        lacking -= counts[kind] * _unit(kind)
    if not any(counts[kind] for kind in own):
        most = max(own, key=lambda kind: len(kinds[kind]))
        counts[most], lacking = 1, lacking - _unit(most)
    return lacking


def _unit(kind: _Kind) -> int:
    return kind[3] or kind[1]


def _so_many(nodes: Sequence[Node], count: int) -> Iterable[Node]:
    for position in range(count):
        turn, which = divmod(position, len(nodes))
        node = nodes[which]
        yield replace(node, name=f"{node.name}-{turn + 1}") if turn else node


def what_if(nodes: Sequence[Node], text: str) -> list[Node]:
    """The nodes after a change such as ``machines.cluster.cpus=128``; cpus, memory and gpus are each node's."""
    path, equals, value = text.partition("=")
    head, _, rest = path.partition(".")
    name, _, key = rest.rpartition(".")
    where = f"--what-if {in_quotes(text)}"
    if head != "machines" or not name or not equals:
        raise UsageError(f"{where}: expected machines.NAME.KEY=VALUE, such as machines.cluster.cpus=128")
    if key not in _WHAT_IF_KEYS:
        raise UsageError(f"{where}: unknown key {in_quotes(key)}, expected one of {', '.join(_WHAT_IF_KEYS)}")
    meant = [node for node in nodes if name in (node.machine, node.name)]
    if not meant:
        there = sorted({node.machine for node in nodes})
        hint = did_you_mean(name, there) or f"there are: {', '.join(there[:20])}"
        raise UsageError(f"{where}: no machine {in_quotes(name)} in the simulation ({hint})")
    amount = _amount(where, key, value)
    if key == "nodes":
        kept = [node for node in nodes if name not in (node.machine, node.name)]
        return [*kept, *_so_many(meant, amount)]
    field = "memory_bytes" if key == "memory" else key
    return [
        replace(node, **{field: amount}) if name in (node.machine, node.name) else node  # type: ignore[arg-type]
        for node in nodes
    ]


def _amount(where: str, key: str, value: str) -> int:
    if key == "memory":
        try:
            return parse_size(value)
        except ValueError as error:
            raise UsageError(f"{where}: {in_quotes(value)}, expected {error}") from error
    least = 1 if key == "cpus" else 0
    amount = int(value) if value.isdecimal() and len(value) < 16 else -1
    if not least <= amount <= MOST:
        raise UsageError(f"{where}: {in_quotes(value)}, expected a whole number of {least} to {MOST:,}")
    return amount


def levels(jobs: Sequence[Job], given: Mapping[str, int]) -> dict[str, int]:
    """The priority of each queue: as given, else by the median walltime that its jobs ask for, the shortest first."""
    asked = defaultdict[str, list[float]](list)
    queues = dict.fromkeys(job.queue for job in jobs)
    for job in jobs:
        if job.walltime_s is not None:
            asked[job.queue].append(job.walltime_s)
    for name in given:
        if name not in queues:
            hint = did_you_mean(name, list(queues)) or f"there are: {', '.join(sorted(queues)[:20])}"
            raise UsageError(f"--queue-priority {name}: no such queue in the trace ({hint})")
    medians = {queue: statistics.median(times_s) for queue, times_s in asked.items()}
    ranks = {median_s: rank for rank, median_s in enumerate(sorted(set(medians.values())))}
    room = HIGHEST - LOWEST
    stretch = min(1.0, room / max(1, len(ranks) - 1))
    found = {queue: HIGHEST - round(ranks[median_s] * stretch) for queue, median_s in medians.items()}
    return {queue: given.get(queue, found.get(queue, NORMAL)) for queue in queues}
