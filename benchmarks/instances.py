"""Instances of match-making: what a core would show of many tasks.

Classes of tasks and of workers have sizes by Zipf's law (exponent 1 and 1/2), each class of tasks is done by 1 to 25 %
of the workers, which have 1 to 16 slots.
"""

from __future__ import annotations

import random
from array import array
from dataclasses import dataclass

from wlmctl.machine import Requirement
from wlmctl.scheduler import DataColumns, Group, MachineView, Snapshot, UnboundRole, UnboundRoles, WorkerView
from wlmctl.task import Resources

BANDS = 5


@dataclass(frozen=True, slots=True)
class Size:
    """Of an instance: how many of what, and by when the decision is promised (ms)."""

    name: str
    tasks: int
    workers: int
    task_classes: int
    worker_classes: int
    promised_ms: float


LARGE = Size("100,000 tasks x 10,000 workers, 50 x 40 classes", 100_000, 10_000, 50, 40, 25)
MIDDLE = Size("10,000 tasks x 1,000 workers, 50 x 40 classes", 10_000, 1_000, 50, 40, 25)
WIDE = Size("100,000 tasks x 10,000 workers, 500 x 200 classes", 100_000, 10_000, 500, 200, 350)
TINY = Size("1,000 tasks x 100 workers, 50 x 40 classes", 1_000, 100, 50, 40, 25)


def instance(size: Size, seed: int) -> Snapshot:
    """Groups of every task class in every band, and workers, as a core would show them."""
    draw = random.Random(seed)
    per_task, per_worker, can = _classes(size, draw)
    machines = frozenset({"m"})
    workers = list[WorkerView]()
    for types, count in zip(map(frozenset, can), per_worker, strict=True):
        workers += [
            WorkerView(f"w{len(workers) + more:05}", types, machines, draw.randint(1, 16)) for more in range(count)
        ]
    groups = list[Group]()
    for number, count in enumerate(per_task):
        cuts = sorted(draw.randint(0, count) for _ in range(BANDS - 1))
        for band, (first, last) in enumerate(zip([0, *cuts], [*cuts, count], strict=True)):
            if first < last:
                tasks = tuple(f"{number}.{task}" for task in range(first, last))
                groups.append(
                    Group(f"g{number}-{band}", f"e{number}", f"t{number}", tasks, None, priority=band, order=number)
                )
    draw.shuffle(workers)
    return Snapshot(0.0, seed, groups, workers, {})


def _classes(size: Size, draw: random.Random) -> tuple[list[int], list[int], list[set[str]]]:
    """How many tasks and workers each class has, and the classes of tasks that each class of workers can do."""
    per_task = _zipf(size.tasks, size.task_classes, 1.0, draw)
    per_worker = _zipf(size.workers, size.worker_classes, 0.5, draw)
    can: list[set[str]] = [set() for _ in per_worker]
    for number in range(size.task_classes):
        wanted = size.workers * draw.uniform(0.01, 0.2)
        reached = 0
        for chosen in draw.sample(range(size.worker_classes), size.worker_classes):
            if reached and reached + per_worker[chosen] > size.workers * 0.25:
                continue
            can[chosen].add(f"t{number}")
            reached += per_worker[chosen]
            if reached >= wanted:
                break
    return per_task, per_worker, can


def _zipf(total: int, classes: int, exponent: float, draw: random.Random) -> list[int]:
    weights = [1 / (rank + 1) ** exponent for rank in range(classes)]
    draw.shuffle(weights)
    return [max(1, round(total * weight / sum(weights))) for weight in weights]


#: Nodes of the instances with several resources: cpus, GiB of memory, gpus.
SHAPES = ((8, 32, 0), (16, 64, 0), (32, 128, 0), (48, 96, 2), (64, 256, 0), (64, 512, 4), (96, 384, 0), (128, 1024, 8))


def nodes_instance(tasks: int, nodes: int, seed: int) -> Snapshot:
    """Fifty kinds of tasks that ask for cpus, memory and gpus of any node, of two users, on empty nodes of 8 shapes."""
    draw = random.Random(seed)
    machines = dict[str, MachineView]()
    for number in range(nodes):
        name, (cpus, memory, gpus) = f"n{number:05}", draw.choice(SHAPES)
        machines[name] = MachineView(name, (), cpus, memory, gpus, cpus, memory, gpus)
    groups = list[Group]()
    for number, count in enumerate(_zipf(tasks, 50, 0.5, draw)):
        asked = Resources(
            draw.choice((1, 2, 4, 8, 16, 32)), draw.choice((1, 4, 16, 64, 128)), draw.choice((0, 0, 0, 1, 2))
        )
        names = tuple(f"{number}.{task}" for task in range(count))
        groups.append(
            Group(
                f"g{number}", f"e{number}", "job", names, None, (), None, asked, order=number, anywhere=Requirement(),
                user=draw.choice("ab"),
            )
        )  # fmt: skip
    worker = WorkerView("w", frozenset({"job"}), frozenset(machines), tasks)
    return Snapshot(0.0, seed, groups, (worker,), machines)


def near_instance(roles: int, nodes: int, seed: int) -> Snapshot:
    """Roles of one task each, which fit on 1 to 25 % of the nodes and have data on one to three of these."""
    draw = random.Random(seed)
    kinds = 50
    labels: list[list[str]] = [[] for _ in range(nodes)]
    fitting: list[list[int]] = []
    for kind in range(kinds):
        fitting.append(draw.sample(range(nodes), max(1, int(nodes * draw.uniform(0.01, 0.25)))))
        for number in fitting[-1]:
            labels[number].append(f"k{kind}")
    machines = dict[str, MachineView]()
    for number, has in enumerate(labels):
        cpus = draw.randint(1, 16)
        machines[f"n{number:05}"] = MachineView(f"n{number:05}", tuple(has), cpus, None, 0, cpus, None, 0)
    groups, unbound = list[Group](), list[UnboundRole]()
    for kind, count in enumerate(_zipf(roles, kinds, 1.0, draw)):
        requires = Requirement(labels=(f"k{kind}",))
        for number in range(count):
            key = f"e{kind}", f"r[{number}]"
            there = {
                f"n{at:05}": draw.randint(1, 1 << 40)
                for at in draw.sample(fitting[kind], min(3, draw.randint(1, 3), len(fitting[kind])))
            }
            groups.append(
                Group(f"g{kind}.{number}", key[0], "job", (f"{kind}.{number}",), None, (), key[1], order=kind)
            )
            unbound.append(UnboundRole(*key, requires, (groups[-1].id,), data_bytes=there))
    worker = WorkerView("w", frozenset({"job"}), frozenset(machines), 16 * nodes)
    return Snapshot(0.0, seed, groups, (worker,), machines, roles=unbound)


def hosts_instance(size: Size, local: float, seed: int) -> Snapshot:
    """The tasks and workers of ``instance`` as roles of one task each and machines: a part ``local`` of the roles has
    data on one to three of the machines that it fits on, equally much on each.
    """
    draw = random.Random(seed)
    per_task, per_worker, can = _classes(size, draw)
    machines, fitting = dict[str, MachineView](), [list[str]() for _ in per_task]
    for kinds, count in zip(can, per_worker, strict=True):
        labels = tuple(sorted(kinds))
        for _ in range(count):
            name, cpus = f"n{len(machines):05}", draw.randint(1, 16)
            machines[name] = MachineView(name, labels, cpus, None, 0, cpus, None, 0)
            for label in labels:
                fitting[int(label[1:])].append(name)
    groups, classes = list[Group](), list[UnboundRoles]()
    for kind, count in enumerate(per_task):
        requires, roles, there = (
            Requirement(labels=(f"t{kind}",)),
            [f"r[{number}]" for number in range(count)],
            fitting[kind],
        )
        whose, at = array("q"), array("q")
        for number in range(count):
            hosts = draw.sample(range(len(there)), min(draw.randint(1, 3), len(there)))
            if draw.random() < local:
                whose.extend([number] * len(hosts))
                at.extend(hosts)
        data = DataColumns(there, whose, at, array("q", [1 << 30]) * len(at))
        tasks = [f"{kind}.{number}" for number in range(count)]
        groups.append(Group(f"g{kind}", f"e{kind}", "job", tasks, None, (), "r", order=kind, own_roles=roles))
        classes.append(UnboundRoles(f"e{kind}", roles, requires, (f"g{kind}",), data=data))
    worker = WorkerView("w", frozenset({"job"}), frozenset(machines), 16 * size.workers)
    return Snapshot(0.0, seed, groups, (worker,), machines, role_classes=classes)
