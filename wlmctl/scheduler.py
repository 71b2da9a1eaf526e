"""The contract of a scheduler: a pure function from a snapshot to a decision.

A scheduler does no I/O, reads no clock, draws no random number but from ``snapshot.seed``, and remembers
nothing between calls. The core checks each assignment before it acts on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from wlmctl.machine import Requirement
from wlmctl.task import Resources


@dataclass(frozen=True, slots=True)
class Group:
    """Ready tasks that are equal to a scheduler. ``tasks`` are their ids in order of submission, the eldest first.

    ``machine`` is what the resources are taken from; None while the role ``unbound`` has no machine yet.
    ``may_start`` is how many more of the experiment's tasks may be under way (None: no cap).
    ``anywhere`` is set where each task takes a machine of its own, any that fits (``machine`` and ``unbound`` are
    None then); with ``resources.nodes`` above 1 it takes so many, and the resources from each of them.

    Where each task waits for a role of its own of an ``each``, ``own_roles`` are these, in the order of the tasks,
    ``name[value]``, and ``unbound`` is the ``name``. Only a scheduler with ``by_class`` is shown that.
    """

    id: str
    experiment: str
    type: str
    tasks: Sequence[str]
    machine: str | None
    touches: tuple[str, ...] = ()
    unbound: str | None = None
    resources: Resources = field(default_factory=Resources)
    worker_labels: tuple[str, ...] = ()
    priority: int = 4
    order: int = 0
    age_s: float = 0.0
    may_start: int | None = None
    anywhere: Requirement | None = None
    user: str | None = None
    project: str | None = None
    #: When the experiment is to be done, in seconds since the epoch.
    deadline_s: float | None = None
    #: What each task takes of the counters that all machines share: names and amounts.
    counters: tuple[tuple[str, int], ...] = ()
    own_roles: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A live worker: what it can do and how many more tasks it takes."""

    id: str
    types: frozenset[str]
    machines: frozenset[str]
    free_slots: int
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class MachineView:
    """A machine and what is left of it. ``queueing``: a batch system of its own queues what does not fit now."""

    name: str
    labels: tuple[str, ...] = ()
    cpus: int | None = None
    memory_bytes: int | None = None
    gpus: int | None = None
    free_cpus: int | None = None
    free_memory_bytes: int | None = None
    free_gpus: int | None = None
    queueing: bool = False
    jobs_left: int | None = None
    held: bool = False


@dataclass(frozen=True, slots=True)
class RoleNeed:
    """What some of a role's tasks ask, whether they are ready or not."""

    type: str
    resources: Resources = field(default_factory=Resources)
    worker_labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnboundRole:
    """A role that has no machine yet: ``role`` is its name, or ``name[value]`` with ``each``.

    ``groups`` are those of its ready tasks, ``needs`` what any of its tasks will ask of the machine. It cannot be bound
    to ``barred`` machines. ``data_bytes`` is how much of what its tasks read is on a machine already, as far as earlier
    tasks of the experiment have put it there.
    """

    experiment: str
    role: str
    requires: Requirement
    groups: tuple[str, ...] = ()
    needs: tuple[RoleNeed, ...] = ()
    barred: frozenset[str] = frozenset()
    data_bytes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DataColumns:
    """How much data of some roles is where: ``sizes[i]`` bytes of the role number ``roles[i]`` are on the machine
    number ``at[i]`` of ``machines``. Roles come in ascending order, and no machine twice for one of them.
    """

    machines: Sequence[str] = ()
    roles: Sequence[int] = ()
    at: Sequence[int] = ()
    sizes: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class UnboundRoles:
    """Roles of one ``each`` that have no machine yet and are equal but for where their data are: ``roles`` are their
    names, ``groups`` are all whose ``own_roles`` have one of them, all else is as in ``UnboundRole``.
    """

    experiment: str
    roles: Sequence[str]
    requires: Requirement
    groups: tuple[str, ...] = ()
    needs: tuple[RoleNeed, ...] = ()
    barred: frozenset[str] = frozenset()
    data: DataColumns = field(default_factory=DataColumns)


@dataclass(frozen=True, slots=True)
class RunningTask:
    """A task under way, with what it holds and when it is expected to end (None: not known).

    One that holds several machines is there once for each of them.
    """

    task: str
    machine: str | None
    worker: str | None
    resources: Resources
    expected_end_s: float | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """One task to start now. A worker of None is any that can do it: the core picks the queue.

    Of a task that may be ``anywhere``, ``machine`` is the one it takes; ``more`` are the others, where it takes
    several. None, or too few, leave the choice to the core, among those that have room.
    """

    task: str
    machine: str | None
    worker: str | None = None
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """A machine for a role; it holds until the experiment ends."""

    experiment: str
    role: str
    machine: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """A machine kept for a task that must not starve; carried back in the next snapshot.

    ``from_s`` is when the task is expected to fit; None: that is not known, the machine is drained for it.
    """

    task: str
    machine: str
    from_s: float | None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a group is not placed: a short code, and a sentence for ``explain``."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a user or a project has: what runs now, and cpu-seconds decayed over its past."""

    running_cpus: float = 0.0
    decayed_cpu_s: float = 0.0
    running_memory_bytes: float = 0.0
    running_gpus: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a scheduler may know. ``now_s`` is the store's clock in seconds since the epoch."""

    now_s: float
    seed: int
    groups: Sequence[Group]
    workers: Sequence[WorkerView]
    machines: Mapping[str, MachineView]
    running: Sequence[RunningTask] = ()
    usage_by_user: Mapping[str, Usage] = field(default_factory=dict)
    usage_by_project: Mapping[str, Usage] = field(default_factory=dict)
    roles: Sequence[UnboundRole] = ()
    #: Roles that groups with ``own_roles`` wait for; none of them is in ``roles``.
    role_classes: Sequence[UnboundRoles] = ()
    bindings: Sequence[Binding] = ()
    reservations: Sequence[Reservation] = ()
    #: What is left of each counter that all machines share; one that is not named has none left.
    counters: Mapping[str, int] = field(default_factory=dict)

    def tasks(self) -> Iterator[tuple[str, Group]]:
        """Each ready task with its group, lazily, in the order of the groups."""
        for group in self.groups:
            for task in group.tasks:
                yield task, group


@dataclass(frozen=True, slots=True)
class Decision:
    """What a scheduler wants done now. ``reasons`` maps the id of a group that was not placed to why.

    ``look_again_s`` is in how many seconds it wants to be asked although nothing has happened.
    """

    assignments: Sequence[Assignment] = ()
    bindings: Sequence[Binding] = ()
    reservations: Sequence[Reservation] = ()
    reasons: Mapping[str, Reason] = field(default_factory=dict)
    look_again_s: float | None = None


class Scheduler(Protocol):
    """A scheduling policy.

    One whose attribute ``by_class`` is true is shown the roles of an ``each`` in classes (``Snapshot.role_classes``,
    ``Group.own_roles``). Any other sees a group and an ``UnboundRole`` for each of them.
    """

    def assign(self, snapshot: Snapshot) -> Decision:
        """Which tasks start now, and where."""
        ...


class SchedulerFactory(Protocol):
    """What ``wlmctl_schedulers()`` maps a name to."""

    def __call__(self, options: Mapping[str, Any]) -> Scheduler:
        """The scheduler with ``scheduler_options``; raises ``ConfigError`` for a wrong one."""
        ...
