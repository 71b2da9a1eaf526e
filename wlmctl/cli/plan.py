"""``wlmctl plan``: what a run would do, in order, and everything that is in its way."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from wlmctl.cli.common import output_option, with_all_machines, write, write_json
from wlmctl.cli.machine_hold import held_as_json, known_holds
from wlmctl.errors import ExitCode
from wlmctl.text import counted, shown

if TYPE_CHECKING:
    from wlmctl.planning import Finding
    from wlmctl.runtime.plan import ExperimentPlan, TaskPlan
    from wlmctl.runtime.plan_script import TaskScript
    from wlmctl.store.machines import Hold

_MARKS = {"ok": "", "note": "note: ", "problem": "PROBLEM: "}


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--name", help="Name the experiment otherwise than the file does.")
@click.option("--param", "params", multiple=True, metavar="K=V", help="Set a parameter; may be repeated.")
@click.option("--script", "task", metavar="TASK", help="Only print what would be submitted for this task.")
@output_option
@click.pass_context
def plan(
    ctx: click.Context, file: str, name: str | None, params: tuple[str, ...], task: str | None, output: str
) -> int:
    """Show what running FILE would do, checked on the machines; nothing is written.

    Ends with 1 when something is in the way, with 4 when a machine could not be reached.

    With --script, print the script of one TASK or instance (simulate, simulate[1], simulate:1) as its machine would
    get it: with a queue the batch script, and the script that it runs. For a TASK with instances that go together that
    is the script of the array or pack.
    """
    from wlmctl.cli.submit import parameters
    from wlmctl.experiment import read
    from wlmctl.plugins import task_type
    from wlmctl.runtime.batch_options import options_check
    from wlmctl.runtime.plan import make_plan
    from wlmctl.runtime.reach import connections

    config = with_all_machines(ctx)
    experiment = read(
        file,
        name=name,
        params=parameters(params),
        machines=config.machines,
        counters=config.counters,
        task_type=task_type,
        check=options_check(config.machines),
    )
    if task is not None:
        from wlmctl.runtime.plan_script import plan_script

        with connections(config) as pool:
            script = plan_script(config, experiment, task, pool)
        if output == "json":
            write_json(_script_as_json(script))
        else:
            _write_script(script)
        return ExitCode.DONE
    with connections(config) as pool:
        made = make_plan(config, experiment, pool)
    held = {name: hold for name, hold in known_holds(ctx).items() if hold.by is not None}
    if output == "json":
        write_json(_as_json(made, held))
    else:
        _write(made, held)
    if made.unreachable:
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED if made.problems else ExitCode.DONE


def _write_script(script: TaskScript) -> None:
    """Shell text, whose comments say what is what."""
    text, machine = script.text, script.machine
    write(f"# task {script.task} on machine {machine.name} ({machine.batch})\n")
    if text.kind == "pack":
        write(f"# {text.members} of its instances in one job of the queue, one after the other\n")
    elif text.kind == "array":
        write(f"# {text.members} of its instances as one array: those that are submitted together\n")
    elif script.pack > 1:
        write(f"# by itself; up to {script.pack} of its instances share one job of the queue\n")
    if text.batch:
        write(f"# submitted, held, recorded and released: {shlex.join(text.words)}\n")
        of = f" of {script.task}" if text.members > 1 else ""
        write(f"{text.batch}\n# script.NONCE{of}, which runs by {machine.shell or 'bash -l'}:\n")
    write(text.script)


def _script_as_json(script: TaskScript) -> dict[str, Any]:
    text = script.text
    return {
        "task": script.task,
        "machine": script.machine.name,
        "batch": script.machine.batch,
        "pack": script.pack,
        "kind": text.kind,
        "instances": text.members,
        "words": list(text.words),
        "batch_script": text.batch or None,
        "script": text.script,
    }


def _write(plan: ExperimentPlan, held: Mapping[str, Hold]) -> None:
    write(f"{plan.name}: {counted(plan.task_count, 'task')}\n\nmachines\n")
    for survey in plan.machines:
        state = "does not answer" if survey.unreachable else "ok" if not survey.problems else "has problems"
        write(f"  {survey.machine.name}: {survey.shown_login}, {state}\n")
        if survey.machine.name in held:
            write(f"       {_MARKS['note']}it is held {shown(held[survey.machine.name].text)}: its tasks would wait\n")
        for finding in survey.findings:
            _write_finding(finding)
    write("\ntasks, in order\n")
    for number, task in enumerate(plan.tasks, 1):
        write(f"  {number}. {_title(task)}\n")
        for finding in task.findings:
            _write_finding(finding)
    lines = [*plan.unreachable, *plan.problems]
    if lines:
        write("\nin the way\n")
        for line in lines:
            write(f"  {line}\n")
    else:
        write("\nnothing is in the way\n")


def _title(task: TaskPlan) -> str:
    places = [
        role if machine == role else f"{role} = {machine or 'no machine'}" for role, machine in task.machines.items()
    ]
    count = f", {task.instances} instances" if task.instances > 1 else ""
    after = f", after {', '.join(task.needs)}" if task.needs else ""
    return f"{task.name}: {task.type} on {', '.join(places)}{count}{after}"


def _write_finding(finding: Finding) -> None:
    write(f"       {_MARKS[finding.level]}{shown(finding.text)}\n")


def _as_json(plan: ExperimentPlan, held: Mapping[str, Hold]) -> dict[str, Any]:
    """The plan as plain JSON values."""
    return {
        "name": plan.name,
        "task_count": plan.task_count,
        "machines": [
            {
                "name": survey.machine.name,
                "login": survey.shown_login,
                "reachable": not survey.unreachable,
                "held": held_as_json(held[survey.machine.name]) if survey.machine.name in held else None,
                "scratch": survey.scratch or None,
                "free_bytes": survey.free_bytes,
                "findings": [_finding(finding) for finding in survey.findings],
            }
            for survey in plan.machines
        ],
        "tasks": [
            {
                "name": task.name,
                "type": task.type,
                "instances": task.instances,
                "needs": list(task.needs),
                "machines": dict(task.machines),
                "findings": [_finding(finding) for finding in task.findings],
            }
            for task in plan.tasks
        ],
        "problems": list(plan.problems),
        "unreachable": list(plan.unreachable),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "what": finding.what,
        "level": finding.level,
        "text": finding.text,
        "machine": finding.machine,
        **finding.figures,
    }
