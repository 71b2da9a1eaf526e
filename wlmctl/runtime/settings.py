"""Whether the plugins that the settings name exist and take their options, before anything is written."""

from __future__ import annotations

from dataclasses import replace

from wlmctl import plugins
from wlmctl.config import Config
from wlmctl.experiment.model import Experiment
from wlmctl.machine import Machine
from wlmctl.task import Defers


def check_scheduler(config: Config) -> None:
    """The scheduler exists and takes its options; raises what the lookup or the plugin raises."""
    plugins.scheduler_factory(config.scheduler)(config.scheduler_options)


def check_batch_systems(config: Config, experiment: Experiment, own: Config | None = None) -> None:
    """The same of the batch systems of the machines that jobs of the experiment name.

    A plugin that only the orchestrator has, whose machine is not one of ``own``, is left to the orchestrator.
    """
    usual = Machine("any").batch
    if not any(machine.batch != usual or machine.batch_options for machine in config.machines.values()):
        return
    from wlmctl.runtime.roles import machines_named

    with_jobs = [each for each in experiment.templates if isinstance(plugins.task_type(each.type), Defers)]
    installed = plugins.names("batch")
    for machine in machines_named(config, replace(experiment, templates=tuple(with_jobs))):
        if machine.batch in installed or machine == (own or config).machines.get(machine.name):
            plugins.batch_factory(machine.batch)(machine, machine.batch_options)
