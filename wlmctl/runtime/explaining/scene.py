"""What the store tells around one task: its experiment, its machines, the live workers, who leads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from wlmctl import plugins
from wlmctl.errors import ConfigError
from wlmctl.experiment import Instances, from_document
from wlmctl.experiment.model import Experiment, Instance, Template
from wlmctl.host import is_gone
from wlmctl.machine import LOCAL, Machine
from wlmctl.orchestrator.locality import Locality
from wlmctl.orchestrator.role_needs import RoleNeeds
from wlmctl.states import ExperimentState
from wlmctl.store import Database, experiments, machines, workers
from wlmctl.store.events import events
from wlmctl.store.leases import ORCHESTRATOR, LeaseRow, experiment_lease, look
from wlmctl.store.machines import Hold
from wlmctl.store.rows import EVENT_COLUMNS, EventRow, ExperimentRow, TaskRow
from wlmctl.store.workers import WorkerRow
from wlmctl.task import Defers


@dataclass
class Scene:
    """One task and what is around it, read from the store when it is first asked for."""

    db: Database
    #: The machines that the orchestrator counts on, as far as the settings and the store tell.
    machines: Mapping[str, Machine]
    row: ExperimentRow
    task: TaskRow
    now_s: float
    #: What there is of the counters that all machines share.
    counters: Mapping[str, int] = field(default_factory=dict)

    def of(self, task: TaskRow) -> Scene:
        """The same around another task of the experiment."""
        other = replace(self, task=task)
        known = ("experiment", "bindings", "holds", "worker_rows", "holder", "is_fleet", "of_experiment", "local_login")
        other.__dict__.update({name: self.__dict__[name] for name in known if name in self.__dict__})
        return other

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment as it was submitted."""
        return from_document(experiments.document(self.db, self.row.seq))

    @property
    def template(self) -> Template:
        """The task of the file that it is an instance of."""
        return self.experiment.templates[self.task.template]

    @cached_property
    def instances(self) -> Instances:
        """All instances of its template."""
        return Instances(self.template, plugins.task_type, Path(self.row.folder))

    @cached_property
    def instance(self) -> Instance:
        """What it asks for."""
        instance = self.instances.at(self.task.position)
        changed = self.task.changed_resources
        return instance.asking(changed) if changed else instance

    @cached_property
    def is_counted(self) -> bool:
        """True where it takes room of its machine."""
        return isinstance(plugins.task_type(self.task.type), Defers)

    @cached_property
    def bindings(self) -> Mapping[str, str]:
        """The machines that roles are bound to."""
        return experiments.bindings(self.db, self.row.seq)

    @cached_property
    def locality(self) -> Locality:
        """What tasks of the experiment have put where."""
        found = Locality(self.experiment, self._all_instances)
        for row in self.db.rows(
            "SELECT template, position, outputs FROM tasks WHERE exp = ? AND state = 'succeeded'"
            " AND outputs IS NOT NULL ORDER BY idx",
            (self.row.seq,),
        ):
            found.read(*row)
        return found

    @cached_property
    def role_needs(self) -> RoleNeeds:
        """What the tasks of each role ask."""
        defers = [isinstance(plugins.task_type(each.type), Defers) for each in self.experiment.templates]
        return RoleNeeds(self.experiment, self._all_instances, defers)

    @cached_property
    def _all_instances(self) -> list[Instances]:
        folder = Path(self.row.folder)
        return [Instances(each, plugins.task_type, folder) for each in self.experiment.templates]

    def bound_near(self) -> Iterator[tuple[str, str, int]]:
        """The roles of the task that were bound where data were: role, machine, and how many bytes of what is read."""
        keys = {self.role_key(role) for role in self.instance.roles}
        for event in self.of_experiment:
            if event.kind == "binding" and event.values["role"] in keys and "data_bytes" in event.values:
                yield event.values["role"], event.values["machine"], event.values["data_bytes"]

    @cached_property
    def holds(self) -> Mapping[str, Hold]:
        """The machines that do not answer, or that users hold."""
        return machines.holds(self.db, self.now_s)

    @cached_property
    def events(self) -> list[EventRow]:
        """Everything that happened to the task, in order."""
        return list(events(self.db, self.row.seq, task=self.task.idx))

    @cached_property
    def worker_rows(self) -> Mapping[str, WorkerRow]:
        """All workers that the store knows, by id."""
        return {worker.id: worker for worker in workers.rows(self.db)}

    @property
    def cancelled_by(self) -> str | None:
        """``cancelled by root``: what the cancel said that reached the task last; None where there was none."""
        cancels = (each for each in self.of_experiment if each.target == ExperimentState.CANCELLING)
        return next((each.reason for each in cancels if each.time <= (self.task.ended or self.now_s)), None)

    @cached_property
    def of_experiment(self) -> list[EventRow]:
        """What happened to the experiment as a whole, the newest first."""
        rows = self.db.rows(
            f"SELECT {EVENT_COLUMNS} FROM events WHERE exp = ? AND task IS NULL ORDER BY n DESC", (self.row.seq,)
        )
        return [EventRow(*row) for row in rows]

    @property
    def live(self) -> list[WorkerRow]:
        """The workers that the leader counts on."""
        return [worker for worker in self.worker_rows.values() if worker.is_live]

    @cached_property
    def holder(self) -> LeaseRow | None:
        """The process that works on the experiment, or leads all that were submitted; None: nobody does."""
        name = experiment_lease(self.row.seq) if self.row.origin == "run" else ORCHESTRATOR
        found = look(self.db, name)
        return None if found is None or is_gone(found.process) else found

    @cached_property
    def is_fleet(self) -> bool:
        """True where workers come and go; False where the process that leads does the work itself."""
        if self.row.origin == "run":
            return False
        holder = self.holder
        return bool(holder.info.get("is_fleet", self.live)) if holder is not None else bool(self.live)

    def role_key(self, role: str, position: int | None = None) -> str:
        """The name under which a role of the task is bound: ``role``, or ``role[value]`` with ``each``."""
        declared = self.experiment.roles.get(role)
        if declared is None or declared.each is None:
            return role
        values = self.template.rows[self.task.position if position is None else position]
        return f"{role}[{values[self.template.keys.index(declared.each)]}]"

    def machine_of(self, role: str) -> str | None:
        """The machine of a role of the task; None while it is not bound."""
        declared = self.experiment.roles.get(role)
        if declared is None:
            return role
        return declared.machine if declared.machine is not None else self.bindings.get(self.role_key(role))

    @cached_property
    def touched(self) -> list[str]:
        """The machines of all roles that have one, the main one first; ``local`` where the task names none."""
        found = [self.machine_of(role) for role in self.instance.roles or (LOCAL,)]
        return list(dict.fromkeys(name for name in found if name is not None))

    @cached_property
    def local_login(self) -> tuple[str, str] | None:
        """Host and user whose ``local`` is the experiment's; None while a worker is yet to be found (--local-on)."""
        if self.row.local_on is None:
            return self.row.host, self.row.user
        user, _, host = self.bindings.get(LOCAL, "").rpartition("@")
        return (host, user) if host else None

    def login(self, machine: str) -> str | None:
        """What the machine's capacity and commands are counted by; None where that cannot be told here."""
        if machine == LOCAL:
            return f"{LOCAL}@{self.local_login[0]}" if self.local_login is not None else None
        return next(iter(self.logins(machine)), None)

    def logins(self, machine: str) -> list[str]:
        """What connections to each of the machine's login nodes are counted by; none where that cannot be told here."""
        from wlmctl.ssh.login import resolved_login

        try:
            return [resolved_login(node) for node in self.machines[machine].nodes]
        except (ConfigError, KeyError):
            return []

    def worker_name(self, worker: str | None) -> str:
        """What people call a worker."""
        if worker is None:
            return "a worker"
        known = self.worker_rows.get(worker)
        return f"worker {known.name}" if known is not None else "the worker of the process that leads"
