"""``wlmctl worker``: a process that executes tasks; and the workers that the orchestrator knows."""

from __future__ import annotations

import logging

import click
from click.core import ParameterSource

from wlmctl.cli.common import invocation
from wlmctl.cli.groups import SpreadGroup
from wlmctl.errors import ExitCode, UsageError

log = logging.getLogger(__name__)

_LOOK_S = 0.1


@click.group(
    cls=SpreadGroup,
    elsewhere={"list": "wlmctl.cli.worker_admin:list_", "drain": "wlmctl.cli.worker_admin:drain"},
    invoke_without_command=True,
)
@click.option(
    "--slots", metavar="N", type=click.IntRange(1, 10_000), default=8, show_default=True, help="So many steps at once."
)
@click.option("--name", metavar="NAME", help="Its name: the host's where none is given. Several may have one name.")
@click.option("--type", "types", multiple=True, metavar="T", help="Only tasks of this type; may be repeated.")
@click.option(
    "--label", "labels", multiple=True, metavar="LABEL", help="What tasks may ask of a worker; may be repeated."
)
@click.option("--machine", "machines", multiple=True, metavar="GLOB", help="Only these machines; may be repeated.")
@click.pass_context
def worker(
    ctx: click.Context,
    /,
    slots: int,
    name: str | None,
    types: tuple[str, ...],
    labels: tuple[str, ...],
    machines: tuple[str, ...],
) -> int | None:
    """Execute tasks that come over RabbitMQ, until stopped.

    It needs no store, and may be killed at any time. SIGTERM and Ctrl-C drain it: it takes nothing new, finishes what
    it has begun, hands back the rest and ends with 0. A second one breaks its steps off; jobs go on all the same.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx)
        return None
    from wlmctl.cli.service_log import log_to_stderr
    from wlmctl.cli.stopping import Stopping
    from wlmctl.plugins import task_type

    call = invocation(ctx)
    config = call.config
    if not config.is_fleet:
        raise UsageError(
            'worker: the broker is memory://, which is inside one process: set broker = "amqp://USER@HOST/VHOST" in'
            " wlmctl.toml or WLMCTL_BROKER; without RabbitMQ: wlmctl orchestrator --slots N"
        )
    for each in types:
        task_type(each)
    from wlmctl.runtime.worker_process import WorkerProcess

    log_to_stderr(verbose=call.verbose > 0)
    with Stopping(requests=2) as stopping:
        process = WorkerProcess(config, slots=slots, name=name, types=types, labels=labels, machines=machines)
        process.start()
        told = 0
        try:
            while not process.join(_LOOK_S):
                if stopping.count > told:
                    told = stopping.count
                    _tell(told)
                    (process.drain if told == 1 else process.stop)()
        finally:
            process.stop()
        error = process.error()
        if error is not None:
            raise error
    if told > 1:
        return stopping.exit_code
    log.info("drained")
    return ExitCode.DONE


def _tell(signals: int) -> None:
    if signals == 1:
        log.info("draining: what has begun is finished; once more to break it off")
    else:
        log.info("stopping now; jobs go on")


def _refuse_options(ctx: click.Context) -> None:
    for param in ctx.command.params:
        if param.name is not None and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"worker {ctx.invoked_subcommand}: {param.opts[0]} is an option of wlmctl worker itself")
