"""What a slot and a machine cost: rare ones are kept for those that can go nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from wlmctl.scheduler import MachineView
from wlmctl_scheduler_matchmaking.flow import bits
from wlmctl_scheduler_matchmaking.workers import Fleet, WorkerClass

#: Steps of each of the two parts of a worker class's price.
_STEPS = 4


def worker_prices(fleet: Fleet, demands: Iterable[tuple[int, int]]) -> list[int]:
    """The price of a slot of each worker class; ``demands`` are (able worker classes, ready tasks).

    First by pressure: the tasks that would come to one of its slots if each kind of task spread evenly over all it
    can use. Then by rarity: what its workers can do and few others can.
    """
    classes = fleet.classes
    if len(classes) < 2:
        return [0] * len(classes)
    pressure = [0.0] * len(classes)
    for able, tasks in demands:
        slots = fleet.slots_of(able)
        if slots:
            for number in bits(able):
                pressure[number] += tasks / slots
    rarity = _rarity(classes)
    most = max(rarity) or 1.0
    return [
        # a slot is as sought after as can be when two tasks come to it
        _STEPS * min(_STEPS - 1, round(pressed * _STEPS / 2)) + min(_STEPS - 1, int(rare / most * _STEPS))
        for pressed, rare in zip(pressure, rarity, strict=True)
    ]


def _rarity(classes: Sequence[WorkerClass]) -> list[float]:
    workers = Counter[tuple[str, str]]()
    for found in classes:
        for ability in _abilities(found):
            workers[ability] += len(found.workers)
    # sorted, for the sum of fractions depends on their order
    return [sum(sorted([1 / workers[ability] for ability in _abilities(found)])) for found in classes]


def _abilities(found: WorkerClass) -> list[tuple[str, str]]:
    return [
        *[("type", name) for name in found.types],
        *[("label", name) for name in found.labels],
        *[("machine", name) for name in found.machines],
    ]


def machine_prices(machines: Mapping[str, MachineView]) -> dict[str, int]:
    """How rare each machine is: the more of the others could take any task of it, the cheaper (0 the cheapest)."""
    shapes = dict[tuple[float, float, float, frozenset[str]], list[str]]()
    for name, view in machines.items():
        shape = (_size(view.cpus), _size(view.memory_bytes), _size(view.gpus), frozenset(view.labels))
        shapes.setdefault(shape, []).append(name)
    room = dict[tuple[float, float, float, frozenset[str]], float]()
    for shape in shapes:
        room[shape] = sum(
            len(names) * other[0]
            for other, names in shapes.items()
            if other[3] >= shape[3] and all(there >= here for there, here in zip(other[:3], shape[:3], strict=True))
        )
    # the larger the room for tasks that fill the machine, the cheaper it is
    ranks = {size: rank for rank, size in enumerate(sorted(set(room.values()), reverse=True))}
    return {name: ranks[room[shape]] for shape, names in shapes.items() for name in names}


def _size(amount: int | None) -> float:
    return float("inf") if amount is None else float(amount)
