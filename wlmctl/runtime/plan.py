"""What a run of an experiment would do, in order, checked on the machines; nothing is written anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from wlmctl import graph
from wlmctl.config import Config
from wlmctl.connections import ConnectionPool
from wlmctl.errors import SpecError, TaskFailed, TransportError, Unreachable, WlmctlError
from wlmctl.experiment import Instances
from wlmctl.experiment.model import Experiment, Instance, Role, Template
from wlmctl.experiment.raising import is_at_most, steps, told
from wlmctl.machine import LOCAL, Machine, Requirement
from wlmctl.orchestrator.ending import INFRA_LIMIT
from wlmctl.planning import Finding, Plans
from wlmctl.plugins import batch_factory, scheduler_factory, task_type
from wlmctl.quantities import format_size
from wlmctl.runtime.plan_machines import MachineSurvey, surveys
from wlmctl.runtime.roles import candidates, roles_of
from wlmctl.task import Defers, TaskType
from wlmctl.transport import Transport

#: Stands for the id that the experiment will get.
FUTURE_ID = "<id>"
#: Of a task with more instances than this, only the first ones are looked at.
MOST_INSTANCES = 100


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """One task of the file: its place in the order, the machines of its roles, and what was found about it."""

    name: str
    type: str
    instances: int
    needs: tuple[str, ...]
    machines: Mapping[str, str | None]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class ExperimentPlan:
    """The whole plan. ``problems`` and ``unreachable`` are lines of text, everything that is in the way."""

    name: str
    task_count: int
    machines: tuple[MachineSurvey, ...]
    tasks: tuple[TaskPlan, ...]
    problems: tuple[str, ...] = ()
    unreachable: tuple[str, ...] = ()


@dataclass(slots=True)
class Planner:
    """What is known so far; ``roles`` are those whose machines are looked at, by task."""

    config: Config
    experiment: Experiment
    pool: ConnectionPool
    roles: dict[str, list[str]] = field(default_factory=dict)
    machines: dict[str, MachineSurvey] = field(default_factory=dict)
    bound: dict[str, str | None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    brought: Counter[str] = field(default_factory=Counter)
    written: set[str] = field(default_factory=set)


def make_plan(config: Config, experiment: Experiment, pool: ConnectionPool) -> ExperimentPlan:
    """Look at every machine that the experiment needs, and at every task in the order of the graph."""
    planner = Planner(config, experiment, pool)
    try:
        scheduler_factory(config.scheduler)(config.scheduler_options)
    except WlmctlError as error:
        planner.problems.append(str(error))
    planner.roles = {template.name: roles_of(template) for template in experiment.templates}
    look_at_machines(planner)
    tasks = [_task(planner, template) for template in graph.order(experiment.templates)]
    _judge_scratch(planner)
    for name, size_bytes in planner.brought.items():
        free_bytes = planner.machines[name].free_bytes
        if free_bytes is not None and size_bytes > free_bytes:
            text = f"{format_size(size_bytes)} are to be brought there, {format_size(free_bytes)} are free"
            planner.problems.append(f"machine {name}: {text}")
    return ExperimentPlan(
        experiment.name,
        experiment.task_count,
        tuple(planner.machines.values()),
        tuple(tasks),
        tuple(dict.fromkeys(planner.problems)),
        tuple(dict.fromkeys(planner.unreachable)),
    )


def look_at_machines(planner: Planner) -> None:
    """Bind the roles as a run might, and look at their machines."""
    used = dict.fromkeys(role for roles in planner.roles.values() for role in roles)
    declared = {role: planner.experiment.roles.get(role, Role(role, machine=role)) for role in used}
    named = [role.machine for role in declared.values() if role.machine is not None]
    open_roles = [role for role in declared.values() if role.machine is None]
    # With an open role any machine with its labels may be chosen, so each of these is looked at.
    wanted = [frozenset(role.requires.labels if role.requires is not None else ()) for role in open_roles]
    fitting = [each.name for each in planner.config.machines.values() if any(map(set(each.labels).issuperset, wanted))]
    names = list(dict.fromkeys([*named, *fitting]))
    found = surveys(planner.config, names, planner.pool)
    planner.bound = {role.name: role.machine for role in declared.values()}
    for role in open_roles:
        _bind(planner, role, found)
    chosen = set(named) | set(filter(None, planner.bound.values()))
    planner.machines = {name: survey for name, survey in found.items() if name in chosen}
    for survey in planner.machines.values():
        if survey.unreachable:
            planner.unreachable.append(survey.unreachable)


def _judge_scratch(planner: Planner) -> None:
    """A scratch folder is a problem only where the experiment needs it: a store of data may be read-only."""
    planner.machines = {
        name: survey if name in planner.written else survey.without_problems()
        for name, survey in planner.machines.items()
    }
    planner.problems[:0] = [
        f"machine {name}: {finding.text}" for name, survey in planner.machines.items() for finding in survey.problems
    ]


def _bind(planner: Planner, role: Role, found: Mapping[str, MachineSurvey]) -> None:
    """The first machine that fits and answers; the run's scheduler decides anew."""
    known = {name: survey.machine for name, survey in found.items()}
    fitting, reasons = candidates(planner.config, role.requires or Requirement(), known)
    answering = [machine for machine in fitting if not found[machine.name].unreachable]
    planner.bound[role.name] = (answering or fitting)[0].name if fitting else None
    silent = [survey.unreachable for survey in found.values() if survey.unreachable]
    if not fitting and silent:
        planner.unreachable += silent
    elif not fitting:
        planner.problems.append(f"role {role.name}: no machine fits: {'; '.join(reasons)}")


def _task(planner: Planner, template: Template) -> TaskPlan:
    kind = task_type(template.type)
    instances = Instances(template, task_type, Path(planner.experiment.folder))
    by_text: dict[str, Finding] = {}
    for position in range(min(len(template.rows), MOST_INSTANCES)):
        for finding in _findings(planner, template, kind, instances.at(position)):
            by_text.setdefault(finding.text, finding)
    found = list(by_text.values())
    if len(template.rows) > MOST_INSTANCES and isinstance(kind, Plans):
        text = f"the first {MOST_INSTANCES} of {len(template.rows)} instances were looked at"
        found.append(Finding("instances", text, "note"))
    planner.problems += [f"task {template.name}: {one.text}" for one in found if one.level == "problem"]
    return TaskPlan(
        template.name,
        template.type,
        len(template.rows),
        tuple(dict.fromkeys(need.task for need in template.needs)),
        {role: planner.bound.get(role) for role in planner.roles[template.name]},
        tuple(found),
    )


def _findings(planner: Planner, template: Template, kind: TaskType, one: Instance) -> Iterator[Finding]:
    places = [planner.machines.get(planner.bound.get(role) or "") for role in one.roles]
    if any(place is None or place.unreachable for place in places):
        return
    main = places[0] if places else None
    if not isinstance(kind, Plans):  # what it writes cannot be known before
        planner.written.update(place.machine.name for place in places if place is not None)
    if main is not None and isinstance(kind, Defers):
        yield from _capacity(main, one)
        yield from _raises(main.machine, one)
    if not isinstance(kind, Plans):
        return
    try:
        spec = kind.parse(one.text, Path(planner.experiment.folder))
        for finding in kind.plan(spec, PlanningContext(planner, template.name)):
            size_bytes = finding.figures.get("size_bytes")
            if finding.what == "source" and main is not None and isinstance(size_bytes, int):
                planner.brought[main.machine.name] += size_bytes
            yield finding
    except Unreachable as error:
        planner.unreachable.append(str(error))
    except (TransportError, TaskFailed, SpecError) as error:
        yield Finding("plan", str(error), "problem")


def _capacity(place: MachineSurvey, one: Instance) -> Iterator[Finding]:
    """What keeps a job from ever starting on its machine."""
    machine, asks = place.machine, one.resources
    if not place.has_shell:
        yield Finding("shell", f"needs a shell, and machine {machine.name} has none", "problem")
    try:
        batch_factory(machine.batch)(machine, machine.batch_options)
    except WlmctlError as error:
        yield Finding("batch", str(error), "problem")
    offers = (("cpus", asks.cpus, machine.cpus), ("gpus", asks.gpus, machine.gpus))
    for name, wanted, offered in offers:
        if offered is not None and wanted > offered:
            yield Finding(name, f"asks for {wanted} {name}, machine {machine.name} has {offered}", "problem")
    if machine.memory_bytes is not None and asks.memory_bytes > machine.memory_bytes:
        text = (
            f"asks for {format_size(asks.memory_bytes)}, machine {machine.name} has {format_size(machine.memory_bytes)}"
        )
        yield Finding("memory", text, "problem")


def _raises(machine: Machine, one: Instance) -> Iterator[Finding]:
    """What further attempts ask for, up to what the machine has."""
    if one.retry is None:
        return
    for failure_class, asked in one.retry.raises.items():
        limit = one.retry.limit if failure_class in one.retry.on else INFRA_LIMIT
        asks = steps(one.resources, asked, limit, machine)
        if len(asks) > 1:
            end = ", then no more" if is_at_most(asks[-1], asked, machine) else ""
            text = f"{', then '.join(told(each, asked) for each in asks)}{end}"
            yield Finding("retry", f"after failures of the class {failure_class}: {text}")


@dataclass(frozen=True, slots=True)
class PlanningContext:
    """``wlmctl.planning.PlanContext`` for one task."""

    planner: Planner
    task: str

    def _survey(self, role: str) -> MachineSurvey:
        return self.planner.machines[self.planner.bound[role] or LOCAL]

    def machine(self, role: str) -> Machine:
        """The machine that the role would be bound to."""
        return self._survey(role).machine

    @contextmanager
    def transport(self, role: str) -> Iterator[Transport]:
        """A pooled connection."""
        with self.planner.pool.lease(self.machine(role)) as transport:
            yield transport

    def folder(self, role: str) -> str:
        """Where relative paths will lie; on machines other than ``local`` there is no such folder yet."""
        if self.machine(role).name == LOCAL:
            return self.planner.experiment.folder
        self.planner.written.add(self.machine(role).name)
        return f"{self._survey(role).scratch}/{FUTURE_ID}"

    def scratch(self, role: str) -> str:
        """The machine's scratch folder."""
        self.planner.written.add(self.machine(role).name)
        return self._survey(role).scratch

    def contents(self, name: str) -> bytes:
        """A file that was read."""
        return self.planner.experiment.files[name]

    def earlier(self, role: str) -> Sequence[str]:
        """The tasks before this one that touch the role's machine."""
        templates = {template.name: template for template in self.planner.experiment.templates}
        before, queue = set[str](), [self.task]
        while queue:
            for need in templates[queue.pop()].needs:
                if need.task not in before:
                    before.add(need.task)
                    queue.append(need.task)
        machine = self.planner.bound.get(role)
        return [
            name for name in templates
            if name in before and any(self.planner.bound.get(other) == machine for other in self.planner.roles[name])
        ]  # fmt: skip
