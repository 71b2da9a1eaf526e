"""The snapshots of a simulation: groups of equal jobs, nodes, what runs; only what has changed is made anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from wlmctl.machine import Requirement
from wlmctl.scheduler import Group, MachineView, Reservation, RunningTask, Snapshot, WorkerView
from wlmctl.simulation.engine import RunningJob
from wlmctl.simulation.shares import Shares
from wlmctl.simulation.site import Site
from wlmctl.simulation.waiting import Waiting
from wlmctl.simulation.workload import Problem, Shape
from wlmctl.task import Resources

_TYPE, _WORKER = "job", "nodes"


class _Tasks(Sequence[str]):
    """The names of waiting jobs, made when they are asked for."""

    __slots__ = ("_jobs",)

    def __init__(self, jobs: list[int]) -> None:
        self._jobs = jobs

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[str]:
        return map(str, self._jobs)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        found = self._jobs[index]
        return list(map(str, found)) if isinstance(index, slice) else str(found)


class Picture:
    """What a scheduler may know of a simulation at a moment.

    Each job takes a node of its own (``Group.anywhere``); which nodes it may have is a label that those nodes carry.
    One worker stands for all: it reaches every node and has a slot for each free cpu, so that only nodes bind.
    """

    def __init__(self, problem: Problem, waiting: Waiting, seed: int) -> None:
        self._problem, self._waiting, self._seed = problem, waiting, seed
        self.reservations: tuple[Reservation, ...] = ()
        self._shares = Shares()
        self._running: dict[tuple[int, int], RunningTask] = {}
        self._stale = set(range(len(problem.nodes)))
        self._views: dict[str, MachineView] = {}
        self._names = frozenset(node.name for node in problem.nodes)
        sets = {shape.permitted for shape in problem.shapes if len(shape.permitted) < len(problem.nodes)}
        self._labels = {permitted: f"set-{number}" for number, permitted in enumerate(sorted(sets))}
        self._node_labels = [
            tuple(label for permitted, label in self._labels.items() if place in permitted)
            for place in range(len(problem.nodes))
        ]
        self._fixed: dict[int, tuple[str | None, tuple[str, ...], Requirement | None, Resources]] = {}

    def ended(self, running: RunningJob, now_s: float) -> None:
        """A job is over."""
        self._shares.change(running.shape, now_s, -1)
        self._stale.update(running.places)
        for place in running.places:
            del self._running[running.job, place]

    def started(self, running: RunningJob, now_s: float) -> None:
        """A job is under way."""
        shape = running.shape
        self._shares.change(shape, now_s, 1)
        self._stale.update(running.places)
        resources = self._of(shape)[3]
        expected_s = running.expected_end_s if shape.walltime_s is not None else None
        for place in running.places:
            name = self._problem.nodes[place].name
            self._running[running.job, place] = RunningTask(str(running.job), name, _WORKER, resources, expected_s)

    def touch(self, places: Iterable[int]) -> None:
        """The nodes have more or less room than before."""
        self._stale.update(places)

    def find(self, task: str) -> tuple[int, Shape] | None:
        """The waiting job that a scheduler knows by this name."""
        if not task.isdecimal() or (job := int(task)) not in self._waiting.all:
            return None
        return job, self._problem.shapes[job]

    def snapshot(self, site: Site, now_s: float) -> Snapshot:
        """All that a scheduler may know now."""
        groups = [self._group(number, jobs, now_s) for number, jobs in self._waiting.jobs.items()]
        users = dict.fromkeys(shape.user for shape in self._waiting.shapes.values())
        self.reservations = tuple(kept for kept in self.reservations if self.find(kept.task) is not None)
        worker = WorkerView(_WORKER, frozenset({_TYPE}), self._names, sum(site.free_cpus))
        return Snapshot(
            now_s,
            self._seed,
            groups,
            (worker,),
            self._machines(site),
            list(self._running.values()),
            self._shares.usage(users, now_s),
            reservations=self.reservations,
        )

    def _group(self, number: int, jobs: list[int], now_s: float) -> Group:
        shape = self._waiting.shapes[number]
        machine, touches, anywhere, resources = self._of(shape)
        return Group(
            f"g{number}", f"g{number}", _TYPE, _Tasks(jobs), machine, touches,
            resources=resources, priority=shape.priority, order=jobs[0] + 1,
            age_s=now_s - self._problem.jobs[jobs[0]].arrive_s, anywhere=anywhere, user=shape.user,
        )  # fmt: skip

    def _of(self, shape: Shape) -> tuple[str | None, tuple[str, ...], Requirement | None, Resources]:
        """The machine of the shape's jobs where there is no choice, else what each one's must have; what they take."""
        found = self._fixed.get(shape.number)
        if found is None:
            resources = Resources(shape.cpus, shape.memory_bytes, shape.gpus, shape.nodes, shape.walltime_s)
            if len(shape.permitted) == 1:
                name = self._problem.nodes[shape.permitted[0]].name
                found = name, (name,), None, resources
            else:
                label = self._labels.get(shape.permitted)
                found = None, (), Requirement(labels=(label,) if label else ()), resources
            self._fixed[shape.number] = found
        return found

    def _machines(self, site: Site) -> dict[str, MachineView]:
        for place in self._stale:
            node = self._problem.nodes[place]
            free_memory = None if node.memory_bytes is None else site.free_memory[place]
            self._views[node.name] = MachineView(
                node.name, self._node_labels[place], node.cpus, node.memory_bytes, node.gpus,
                site.free_cpus[place], free_memory, site.free_gpus[place],
            )  # fmt: skip
        self._stale.clear()
        return dict(self._views)
