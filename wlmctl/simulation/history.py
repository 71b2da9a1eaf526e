"""The own past as a workload: each attempt of a job that the store knows, with the time at which it became ready."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wlmctl.errors import SpecError, UsageError
from wlmctl.experiment import from_document
from wlmctl.experiment.instances import Instances, TaskTypes
from wlmctl.experiment.model import Experiment, Instance
from wlmctl.machine import LOCAL, Machine
from wlmctl.simulation.workload import Job, Node, Workload
from wlmctl.states import TaskState
from wlmctl.store import experiments
from wlmctl.store.database import Database
from wlmctl.store.events import NOTES, events
from wlmctl.store.rows import ExperimentRow
from wlmctl.task import Defers

#: States in which an attempt is over.
_OVER = (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.WAITING)


def from_history(
    db: Database,
    nodes: Sequence[Node],
    inventory: Mapping[str, Machine],
    task_type: TaskTypes,
    since_s: float | None = None,
) -> Workload:
    """The jobs of the experiments created since then. Only jobs: other steps take nothing of a machine.

    A job keeps the machine that its file names; a role that only requires something may be on any machine that fits.
    """
    names = frozenset(name for node in nodes for name in (node.machine, node.name))
    jobs, ended = list[Job](), 0
    for row in reversed(experiments.select(db, since_s=since_s)):
        past = _Past(row, db, names, inventory, task_type)
        jobs += past.jobs()
        ended += past.not_simulated
    if not jobs:
        raise UsageError("--history: no job of the past in the store, expected one that has run")
    notes = [f"{ended} steps that take nothing of a machine are left out"] if ended else []
    return Workload(jobs, nodes, notes)


class _Past:
    """One experiment of the store."""

    def __init__(
        self,
        row: ExperimentRow,
        db: Database,
        names: frozenset[str],
        inventory: Mapping[str, Machine],
        task_type: TaskTypes,
    ) -> None:
        self._row, self._db, self._names, self._inventory = row, db, names, inventory
        self._experiment: Experiment = from_document(experiments.document(db, row.seq))
        self._instances = [
            Instances(template, task_type, Path(row.folder)) if isinstance(task_type(template.type), Defers) else None
            for template in self._experiment.templates
        ]
        self._place = {task.idx: (task.template, task.position) for task in experiments.tasks(db, row.seq)}
        self.not_simulated = 0

    def jobs(self) -> Iterator[Job]:
        """Each attempt that has started and ended."""
        ready, started = dict[int, float](), dict[int, float]()
        for event in events(self._db, self._row.seq):
            if event.task is None or event.kind in NOTES:
                continue
            values = event.values
            if event.target == TaskState.READY:
                ready[event.task] = event.time
            if values.get("started") is not None:
                started[event.task] = values["started"]
            if event.target in _OVER:
                ready_s, start_s = ready.pop(event.task, None), started.pop(event.task, None)
                if ready_s is not None and start_s is not None:
                    job = self._job(event.task, ready_s, max(0.0, (values.get("ended") or event.time) - start_s))
                    if job is not None:
                        yield job

    def _job(self, task: int, ready_s: float, run_s: float) -> Job | None:
        template, position = self._place[task]
        instances = self._instances[template]
        try:
            instance = None if instances is None else instances.at(position)
        except SpecError:
            instance = None  # what it was made of has changed since
        if instance is None:
            self.not_simulated += 1
            return None
        asked = instance.resources
        # a machine of the inventory is one node here, however many it has of its own
        cpus, memory_bytes, gpus = (asked.nodes * each for each in (max(1, asked.cpus), asked.memory_bytes, asked.gpus))
        return Job(
            ready_s, run_s, cpus, memory_bytes, gpus,
            walltime_s=asked.walltime_s, user=self._row.user, queue=self._experiment.templates[template].type,
            wants=self._wants(instance), priority=self._row.priority,
        )  # fmt: skip

    def _wants(self, instance: Instance) -> tuple[str, ...]:
        role = instance.roles[0] if instance.roles else LOCAL
        declared = self._experiment.roles.get(role)
        if declared is None or declared.machine is not None:
            fitting = [role if declared is None else str(declared.machine)]
        elif declared.requires is None:
            return ()
        else:
            fitting = [name for name, machine in self._inventory.items() if declared.requires.misfit(machine) is None]
        there = sorted(self._names.intersection(fitting))
        return ("|".join(there),) if there else ()
