"""Machines, snapshots and a clock made for tests: everything has a default, so a test names what it is about."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from wlmctl.machine import Machine, Requirement
from wlmctl.scheduler import DataColumns, Group, MachineView, Snapshot, UnboundRole, UnboundRoles, WorkerView
from wlmctl.task import Resources


@dataclass(slots=True)
class FakeClock:
    """A clock that stands still until it is moved; callable as ``time.monotonic`` and ``time.time`` are."""

    now_s: float = 1_700_000_000.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Move on; never back."""
        assert seconds >= 0, "a clock does not go back"
        self.now_s += seconds


def make_machine(name: str = "m", **settings: Any) -> Machine:
    """A machine of the inventory: ``name`` with a host of that name, unless the settings say otherwise."""
    return Machine(name=name, **{"host": f"{name}.example", **settings})


def make_group(name: str = "g", count: int = 1, *, machine: str | None = "m", **settings: Any) -> Group:
    """``count`` equal ready tasks ``name/1``, ``name/2`` ... of one experiment, on ``machine``."""
    settings = {"experiment": f"{name}-aaaaaa", "type": "job", **settings}
    touches = settings.pop("touches", (machine,) if machine else ())
    tasks = tuple(f"{name}/{number}" for number in range(1, count + 1))
    return Group(id=name, tasks=tasks, machine=machine, touches=touches, **settings)


def make_role_class(
    name: str = "g",
    count: int = 1,
    *,
    role: str = "compute",
    data: Mapping[int, Mapping[str, int]] | None = None,
    requires: Requirement | None = None,
    **settings: Any,
) -> tuple[Group, UnboundRoles]:
    """``count`` tasks, each with an open role of its own, ``compute[1]`` and so on; ``settings`` are their group's.

    ``data`` is by the role's number, from 0 on, how many bytes are on which machine.
    """
    roles = tuple(f"{role}[{number}]" for number in range(1, count + 1))
    group = make_group(name, count, **{"machine": None, "unbound": role, "own_roles": roles, **settings})
    there = [
        (number, machine, size) for number, sizes in sorted((data or {}).items()) for machine, size in sizes.items()
    ]
    machines = sorted({machine for _, machine, _ in there})
    columns = DataColumns(
        machines,
        [number for number, _, _ in there],
        [machines.index(machine) for _, machine, _ in there],
        [size for _, _, size in there],
    )
    return group, UnboundRoles(group.experiment, roles, requires or Requirement(), (group.id,), data=columns)


def make_worker(name: str = "w", free_slots: int = 4, **settings: Any) -> WorkerView:
    """A worker that does jobs, stages and environments on machine ``m``."""
    settings = {"types": frozenset({"job", "stage", "environment"}), "machines": frozenset({"m"}), **settings}
    return WorkerView(id=name, free_slots=free_slots, **settings)


def make_view(name: str = "m", cpus: int | None = 8, **settings: Any) -> MachineView:
    """A machine as a scheduler sees it; all of it is free unless the settings say otherwise."""
    settings = {"free_cpus": cpus, **settings}
    for kind in ("memory_bytes", "gpus"):
        settings.setdefault(f"free_{kind}", settings.get(kind))
    return MachineView(name=name, cpus=cpus, **settings)


def make_snapshot(
    groups: Iterable[Group] = (),
    workers: Iterable[WorkerView] | None = None,
    machines: Iterable[MachineView] | None = None,
    **settings: Any,
) -> Snapshot:
    """A snapshot: by default one worker with four free slots and one machine ``m`` with eight free cpus."""
    views = [make_view()] if machines is None else machines
    settings = {"now_s": 1_700_000_000.0, "seed": 1, **settings}
    return Snapshot(
        groups=tuple(groups),
        workers=(make_worker(),) if workers is None else tuple(workers),
        machines={view.name: view for view in views},
        **settings,
    )


def random_snapshot(seed: int) -> Snapshot:
    """One of endlessly many snapshots, the same for the same seed: small, and full of things that do not fit."""
    draw = random.Random(seed)
    machines = [_random_view(draw, name) for name in ("a", "b", "c")[: draw.randint(1, 3)]]
    names = [machine.name for machine in machines]
    workers = [
        make_worker(
            f"w{number}",
            draw.randint(0, 4),
            types=frozenset(draw.sample(["job", "stage", "environment"], draw.randint(1, 3))),
            machines=frozenset(draw.sample(names, draw.randint(1, len(names)))),
            labels=frozenset(draw.sample(["x", "y"], draw.randint(0, 2))),
        )
        for number in range(draw.randint(0, 3))
    ]
    caps = {f"e{number}-aaaaaa": draw.choice([None, 0, 1, 3]) for number in range(3)}
    groups = [_random_group(draw, number, names, caps) for number in range(draw.randint(0, 6))]
    counting = random.Random(f"counters {seed}")  # apart, so that all else is as it would be without
    groups = [replace(group, counters=_random_counters(counting)) for group in groups]
    roles = [
        UnboundRole(
            group.experiment, group.unbound, Requirement(labels=tuple(draw.choice([(), ("gpu",)]))), (group.id,)
        )
        for group in groups
        if group.unbound
    ]
    counters = {"p": counting.randint(0, 4), "q": counting.randint(0, 2)}
    classes = [_random_class(counting, number, names, caps) for number in range(counting.choice([0, 0, 1, 2]))]
    groups += [group for group, _ in classes]
    return make_snapshot(
        groups,
        workers,
        machines,
        roles=tuple(roles),
        role_classes=tuple(alike for _, alike in classes),
        counters=counters,
        seed=seed,
    )


def _random_class(
    draw: random.Random, number: int, machines: list[str], caps: Mapping[str, int | None]
) -> tuple[Group, UnboundRoles]:
    experiment, count, cpus = draw.choice(list(caps)), draw.randint(1, 5), draw.randint(0, 2)
    group, alike = make_role_class(
        f"c{number}",
        count,
        role=f"each{number}",
        data={role: {draw.choice(machines): draw.randint(0, 99)} for role in range(count) if draw.random() < 0.5},
        requires=Requirement(labels=tuple(draw.choice([(), (), ("gpu",)]))),
        experiment=experiment,
        type="job" if cpus else "stage",
        resources=Resources(cpus, draw.randint(0, 2) << 30 if cpus else 0),
        priority=draw.randint(0, 9),
        order=draw.randint(0, 9),
        may_start=caps[experiment],
        counters=_random_counters(draw),
    )
    if draw.random() < 0.3:  # two tasks of the first role
        group = replace(group, tasks=(*group.tasks, f"c{number}/again"), own_roles=(*group.own_roles, alike.roles[0]))
    return group, alike


def _random_counters(draw: random.Random) -> tuple[tuple[str, int], ...]:
    named = draw.choice([(), (), ("p",), ("q",), ("p", "q")]) if draw.random() < 0.95 else ("unknown",)
    return tuple((name, draw.randint(1, 2)) for name in named)


def _random_view(draw: random.Random, name: str) -> MachineView:
    cpus, gpus = draw.randint(1, 8), draw.choice([None, 0, 2])
    return MachineView(
        name=name,
        labels=tuple(draw.choice([(), ("gpu",)])),
        cpus=cpus,
        memory_bytes=8 << 30,
        gpus=gpus,
        free_cpus=draw.randint(0, cpus),
        free_memory_bytes=draw.randint(0, 8) << 30,
        free_gpus=None if gpus is None else draw.randint(0, gpus),
        queueing=draw.random() < 0.2,
        jobs_left=draw.choice([None, None, 0, 1, 2]),
        held=draw.random() < 0.1,
    )


def _random_group(draw: random.Random, number: int, machines: list[str], caps: dict[str, int | None]) -> Group:
    experiment = draw.choice(list(caps))
    machine = draw.choice([*machines, None])
    type_ = draw.choice(["job", "job", "stage"])
    asked = Resources(draw.randint(1, 4), draw.randint(0, 2) << 30, draw.choice([0, 0, 1]))
    return make_group(
        f"g{number}",
        draw.randint(1, 5),
        machine=machine,
        experiment=experiment,
        type=type_,
        touches=(machine, *draw.sample(machines, draw.randint(0, 1))) if machine else (),
        unbound=None if machine else f"role{number}",
        resources=asked if type_ == "job" else Resources(cpus=0),
        worker_labels=tuple(draw.choice([(), (), ("x",)])),
        priority=draw.randint(0, 9),
        order=number,
        age_s=float(draw.randint(0, 100)),
        may_start=caps[experiment],
    )
