"""What a machine would be given to run for one task of type ``job``, found out without writing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wlmctl.batch import MANY, BatchSystem, JobText, ShowsText
from wlmctl.config import Config
from wlmctl.connections import ConnectionPool
from wlmctl.errors import NoSuch, TaskFailed, Unreachable, UsageError
from wlmctl.experiment import Instances, parse_task_selector
from wlmctl.experiment.model import Experiment, Instance, Template
from wlmctl.machine import Machine
from wlmctl.planning import PlansJobs
from wlmctl.plugins import batch_factory, task_type
from wlmctl.runtime.plan import FUTURE_ID, Planner, PlanningContext, look_at_machines
from wlmctl.spec import PLACEHOLDER_BEGIN, PLACEHOLDER_END
from wlmctl.suggest import did_you_mean
from wlmctl.task import Resources
from wlmctl.worker.places import private_folder

#: Stands for the token, which comes with the experiment's id.
FUTURE_TOKEN = "0" * 32


@dataclass(frozen=True, slots=True)
class TaskScript:
    """The text of one task's first attempt; ``pack``: so many instances may share one job of the queue."""

    task: str
    machine: Machine
    text: JobText
    pack: int = 1


def plan_script(config: Config, experiment: Experiment, selector: str, pool: ConnectionPool) -> TaskScript:
    """The text for an instance by itself, or for a task: for its first instance and those that may go with it.

    ``NoSuch`` for an unknown one; ``UsageError`` where its type or batch system has no such text; ``TaskFailed`` where
    it could not run; ``Unreachable`` where its machine does not answer.
    """
    template, position, is_whole = _chosen(experiment, selector)
    name = template.instance_name(position)
    kind = task_type(template.type)
    if not isinstance(kind, PlansJobs):
        raise UsageError(f"task {name}: a task of type {template.type} has no batch script")
    instances = Instances(template, task_type, Path(experiment.folder))
    one = instances.at(position)
    planner = Planner(config, experiment, pool, roles={template.name: list(one.roles)})
    look_at_machines(planner)
    if planner.unreachable:
        raise Unreachable("; ".join(planner.unreachable))
    if planner.problems:
        raise TaskFailed("; ".join(planner.problems))
    machine = planner.machines[planner.bound[one.roles[0]] or ""].machine
    batch: BatchSystem = batch_factory(machine.batch)(machine, machine.batch_options)
    if not isinstance(batch, ShowsText):
        raise UsageError(f"task {name}: the batch system {machine.batch} does not show what it submits")
    positions = range(min(len(template.rows), MANY)) if is_whole else [position]
    chosen = [(template.instance_name(at), instances.at(at)) for at in positions]
    with pool.lease(machine) as transport:
        jobs = [
            kind.batch_job(kind.parse(each.text, Path(experiment.folder)), _Context(planner, of, each), transport)
            for of, each in chosen
            if each.roles[0] == one.roles[0]
        ]
    return TaskScript(name, machine, _readable(batch.text(jobs)), jobs[0].pack)


def _chosen(experiment: Experiment, selector: str) -> tuple[Template, int, bool]:
    """The task, the position of an instance, and whether all instances are meant."""
    name, label = parse_task_selector(selector)
    templates = {template.name: template for template in experiment.templates}
    if name not in templates:
        hint = did_you_mean(name, templates) or f"the file has {', '.join(templates)}"
        raise NoSuch(f"no task {name!r} ({hint})")
    template = templates[name]
    if label is None:
        return template, 0, True
    for position in range(len(template.rows)):
        if template.instance_name(position) == f"{name}[{label}]":
            return template, position, False
    raise NoSuch(f"task {name} has no instance {label!r} (the first is {template.instance_name(0)})")


def _readable(text: JobText) -> JobText:
    """Values that are known only at run time stand as the file has them."""

    def shown(part: str) -> str:
        return part.replace(PLACEHOLDER_BEGIN, "${").replace(PLACEHOLDER_END, "}")

    return replace(text, script=shown(text.script), batch=shown(text.batch), words=[shown(each) for each in text.words])


@dataclass(frozen=True, slots=True)
class _Context(PlanningContext):
    """``wlmctl.task_context.JobContext`` for the first attempt of one instance."""

    one: Instance

    @property
    def experiment(self) -> str:
        """The id that is still to come."""
        return FUTURE_ID

    @property
    def attempt(self) -> int:
        """The first."""
        return 1

    @property
    def token(self) -> str:
        """One that no attempt has."""
        return FUTURE_TOKEN

    @property
    def resources(self) -> Resources:
        """What it asks for."""
        return self.one.resources

    @property
    def devices(self) -> Sequence[int]:
        """The first GPUs of the machine."""
        return range(self.one.resources.gpus)

    def private_folder(self, role: str) -> str:
        """Where its logs would lie."""
        return private_folder(self.scratch(role), FUTURE_ID, self.task, self.attempt)
