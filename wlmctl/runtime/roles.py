"""Which machines the roles of an experiment stand for, as far as its file and the inventory tell."""

from __future__ import annotations

from collections.abc import Mapping

from wlmctl.config import Config
from wlmctl.experiment import Instances
from wlmctl.experiment.model import Experiment, Template
from wlmctl.machine import Machine, Requirement
from wlmctl.plugins import task_type


def roles_of(template: Template) -> list[str]:
    """Every role that the task's instances touch, the main one first."""
    instances = Instances(template, task_type)
    constant = instances.constant_roles()
    if constant is not None:
        return list(constant)
    found: dict[str, None] = {}
    for position in range(len(template.rows)):
        found.update(dict.fromkeys(instances.at(position).roles))
    return list(found)


def machines_named(config: Config, experiment: Experiment) -> list[Machine]:
    """The machines that the experiment's tasks name, directly or by a role that is fixed; each once."""
    names: dict[str, None] = {}
    for template in experiment.templates:
        for role in roles_of(template):
            declared = experiment.roles.get(role)
            if declared is None:
                names[role] = None
            elif declared.machine is not None:
                names[declared.machine] = None
    return [config.machine(name) for name in names]


def candidates(config: Config, requires: Requirement, known: Mapping[str, Machine]) -> tuple[list[Machine], list[str]]:
    """The machines that fit a requirement, in the inventory's order, and why each other one does not.

    ``known`` has machines whose capacity was asked for.
    """
    fitting, reasons = [], []
    for name in config.machines:
        machine = known.get(name, config.machines[name])
        misfit = requires.misfit(machine)
        if misfit is None:
            fitting.append(machine)
        else:
            reasons.append(f"{name} {misfit}")
    return fitting, reasons
