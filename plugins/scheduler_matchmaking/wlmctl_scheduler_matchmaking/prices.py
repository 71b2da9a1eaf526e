"""What a slot and a machine cost: rare ones are kept for those that can go nowhere else."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

from wlmctl.scheduler import MachineView
from wlmctl_scheduler_matchmaking.workers import Fleet

#: Steps of each of the two parts of a worker class's price.
_STEPS = 4

#: Prices are made of whole numbers of such parts of 1: their sums are the same in any order.
_UNIT = 1 << 32

#: What the rarest machine costs more than one that any other could replace; a large one costs at most 1.
_RARITY = 3.0

#: What a machine costs that has not reported what it has: it is dearer than any that has.
_UNKNOWN = 10.0

#: To have gpus is one more label, which no user can give.
_GPUS = "\0gpus"


def worker_prices(fleet: Fleet, demands: Iterable[tuple[int, int]]) -> list[int]:
    """The price of a slot of each worker class; ``demands`` are (able worker classes, ready tasks).

    First by pressure: the tasks that would come to one of its slots if each kind of task spread evenly over all it
    can use. Then by rarity: what its workers can do and few others can.
    """
    classes = fleet.classes
    if len(classes) < 2:
        return [0] * len(classes)
    pressure, ready = [0] * len(classes), Counter[int]()
    for able, tasks in demands:
        ready[able] += tasks
    for able, tasks in ready.items():
        slots = fleet.slots_of(able)
        if slots:
            pressing = tasks * _UNIT // slots
            for number in fleet.members(able):
                pressure[number] += pressing
    rarity = _rarity(fleet)
    most = max(rarity) or 1
    return [
        # a slot is as sought after as can be when two tasks come to it
        _STEPS * min(_STEPS - 1, (pressed * _STEPS + _UNIT) // (2 * _UNIT)) + min(_STEPS - 1, rare * _STEPS // most)
        for pressed, rare in zip(pressure, rarity, strict=True)
    ]


def _rarity(fleet: Fleet) -> list[int]:
    """The sum over the types, labels and machines of a class of one part of all workers that have it too, in units."""
    classes = fleet.classes
    of_type = {name: _UNIT // fleet.count(able) for name, able in fleet.doing.items()}
    rarity = [sum(map(of_type.__getitem__, found.types)) for found in classes]
    for kind in (attrgetter("labels"), attrgetter("machines")):
        abilities: list[frozenset[str]] = [kind(found) for found in classes]
        workers = defaultdict[str, int](int)
        for names, found in zip(abilities, classes, strict=True):
            for name in names:
                workers[name] += len(found.free)
        parts = {name: _UNIT // count for name, count in workers.items()}
        for number, names in enumerate(abilities):
            rarity[number] += sum(map(parts.__getitem__, names))
    return rarity


def machine_prices(machines: Sequence[MachineView]) -> Mapping[str, float]:
    """The price of each machine: large ones are dear, and so are those that have what few others have.

    Small ones are taken first, so that large ones are left for what fits on no small one. Rarity is the sum over the
    labels of the machine of one part of all cpus (or gpus, where there are some) that have the label.
    """
    largest = max([view.cpus for view in machines if view.cpus is not None], default=0) or 1
    with_gpus = any(view.gpus for view in machines)
    # those with the same labels are looked at once: there are thousands of machines
    kinds = [(*view.labels, _GPUS) if view.gpus else view.labels for view in machines]
    amounts, having = defaultdict[tuple[str, ...], int](int), defaultdict[str, int](int)
    for view, kind in zip(machines, kinds, strict=True):
        amounts[kind] += max(1, (view.gpus if with_gpus else view.cpus) or 1)
    for kind, amount in amounts.items():
        for label in {*kind}:
            having[label] += amount
    rarity = {kind: math.fsum([1 / having[label] for label in {*kind}]) for kind in amounts}
    rarest = max(rarity.values(), default=0.0) or 1.0
    dearer = {kind: _RARITY * found / rarest for kind, found in rarity.items()}
    return {
        view.name: (_UNKNOWN if view.cpus is None else view.cpus / largest) + dearer[kind]
        for view, kind in zip(machines, kinds, strict=True)
    }
